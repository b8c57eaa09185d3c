"""The channel to a node in this process: the same guard and the same checks, no bytes."""

from collections.abc import AsyncGenerator
from typing import Any

from orchestrator.core.call import Call, Chunks, Reply
from orchestrator.core.context import CallHandler
from orchestrator.core.report import NodeReport
from orchestrator.wire.guard import MAX_CALL_BYTES, Scanner, check_size, let_out
from orchestrator.wire.payloads import pack, unpack
from policies.facts import Clearance


class InProcessChannel:
    """Hands calls to a node in this process.

    Args:
        handler: The node.
        clearance: The most private data it may receive.
        max_bytes: The most that one call may carry.
        scanner: Looks at what goes to a public place; see `let_out`.
    """

    def __init__(
        self,
        handler: CallHandler,
        clearance: Clearance,
        max_bytes: int = MAX_CALL_BYTES,
        scanner: Scanner | None = None,
    ) -> None:
        self._handler = handler
        self._clearance = clearance
        self._max_bytes = max_bytes
        self._scanner = scanner

    async def send(self, call: Call) -> Reply:
        """Run a call on the node; see `Channel.send`."""
        packed = let_out(call, self._clearance, self._max_bytes, self._scanner)
        reply = await self._handler.handle(call.unpacked_as(unpack(packed)))
        if not call.stream:
            return Reply(self._detached(reply.value), reply.timings)
        chunks: Chunks = reply.value
        return Reply(Chunks(self._stream(chunks), lambda: chunks.timings))

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""
        return self._handler.report()

    def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        return self._handler.reports(interval)

    async def aclose(self) -> None:
        """Do nothing: the node is closed by whoever started it."""

    async def _stream(self, chunks: Chunks) -> AsyncGenerator[Any, None]:
        try:
            async for chunk in chunks:
                yield self._detached(chunk)
        finally:
            await chunks.aclose()

    def _detached(self, value: Any) -> Any:
        packed = pack(value)
        check_size(packed, self._max_bytes)
        return unpack(packed)
