"""A node as one guest may use it: the one place where rights and limits are enforced."""

from collections.abc import AsyncGenerator
from typing import Any

from orchestrator.core.call import Call, Chunks, Reply
from orchestrator.core.errors import CallError
from orchestrator.core.report import NodeReport
from orchestrator.core.stepping import OnWait, nobody
from orchestrator.serving.access.guest import Guest
from orchestrator.serving.node import Node


class GuardedNode:
    """Lets a guest's calls through to a node; the `CallHandler` that its channel sees.

    Calls that bodies make on the node itself do not come this way: they have the node's rights.

    Args:
        node: The node.
        guest: Who calls.
    """

    def __init__(self, node: Node, guest: Guest) -> None:
        self._node = node
        self._guest = guest

    async def handle(self, call: Call, on_wait: OnWait = nobody) -> Reply:
        """Run a call if the guest may make it; see `CallHandler.handle`."""
        if call.stream:
            ends: list[Chunks] = []
            source = self._stream(call, on_wait, ends)
            return Reply(Chunks(source, lambda: ends[-1].timings))
        self._enter(call)
        try:
            reply = await self._node.handle(call, on_wait)
            self._guest.check_answer(reply.value)
            return reply
        finally:
            self._guest.leave()

    def report(self) -> NodeReport:
        """Say what the node is and how busy, if the guest may know."""
        self._guest.check_describe()
        return self._node.report()

    async def reports(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Report at once, on every change of state, and every so many seconds."""
        self._guest.check_describe()
        async for report in self._node.reports(interval):
            yield report

    async def _stream(
        self, call: Call, on_wait: OnWait, ends: list[Chunks]
    ) -> AsyncGenerator[Any, None]:
        self._enter(call)
        try:
            chunks: Chunks = (await self._node.handle(call, on_wait)).value
            ends.append(chunks)
            try:
                async for chunk in chunks:
                    self._guest.check_answer(chunk)
                    yield chunk
            finally:
                await chunks.aclose()
        finally:
            self._guest.leave()

    def _enter(self, call: Call) -> None:
        try:
            self._guest.enter(call.service)
        except CallError as error:
            self._node.metrics.record(self._node.registry.name_of(call.service), error.code, 0.0)
            raise
