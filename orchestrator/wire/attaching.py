"""The node's end of an attached session: dialling an orchestrator, and reporting to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

from orchestrator.core.context import CallHandler
from orchestrator.core.errors import CallError, EndpointUnavailable, WireError
from orchestrator.core.report import NodeReport
from orchestrator.wire.connection import (
    ACCEPTED,
    CLIENT_OPTIONS,
    CONNECT_SECONDS,
    REPLACED,
    Connection,
)
from orchestrator.wire.frames import ATTACH, MESSAGE_BYTES, encode_report_message, report_in
from orchestrator.wire.messages import encode_report
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.status import error_of, is_ours
from orchestrator.wire.unary import is_cancelled

REPORT_SECONDS = 0.5
"""Seconds between two reports; a caller that hears none for four times as long goes elsewhere."""

_ACCEPT_SECONDS = 10.0
"""How long an orchestrator may take to accept a node."""

_END_SECONDS = 2.0
"""How long an orchestrator may take to hear that a node has ended its stream."""

_OPTIONS = [
    *CLIENT_OPTIONS,
    # Else a new channel to the same address would share the connection, and the pauses between
    # attempts, of the one that has just failed.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MESSAGE_BYTES + 64),
    ("grpc.max_receive_message_length", MESSAGE_BYTES + 64),
]

_quiet = suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError)
"""Around what writes: whoever reads hears why the stream has ended."""


class Replaced(EndpointUnavailable):
    """Another node of the same identity has attached since."""


class NodeStream:
    """A stream that a node has dialled: it carries a session, and reports beside it.

    Args:
        call: The stream.
        address: Where it goes, for errors.
        handler: The node.
        on_end: Called when the node's reports end, which is when the node does.
    """

    def __init__(
        self, call: Any, address: str, handler: CallHandler, on_end: Callable[[], object]
    ) -> None:
        self._call = call
        self._address = address
        self._handler = handler
        self._on_end = on_end
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._writing = asyncio.Lock()
        self._asked = asyncio.Event()
        self._question = 0
        work = (self._read(), self._report(), self._answer())
        self._tasks = [asyncio.create_task(each) for each in work]

    async def read(self) -> bytes | None:
        """Return the next message of the session; None at the end."""
        return await self._messages.get()

    async def write(self, message: bytes) -> None:
        """Send a message of the session."""
        async with self._writing:  # gRPC takes one at a time
            await self._call.write(message)

    async def accepted(self) -> None:
        """Wait until the orchestrator has accepted the node; raise CallError if it does not."""
        try:
            async with asyncio.timeout(_ACCEPT_SECONDS):
                if ACCEPTED in tuple(await self._call.initial_metadata()):
                    return
                raise await self.reason()  # a refused stream has initial metadata, too
        except TimeoutError:
            raise EndpointUnavailable(f"{self._address} does not answer") from None

    async def reason(self) -> CallError:
        """Return why the stream has ended."""
        code = await self._call.code()
        if code is REPLACED:
            return Replaced(f"another node with the same identity has attached to {self._address}")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return EndpointUnavailable(
                f"{self._address} is no address that an orchestrator listens on"
            )
        if code is grpc.StatusCode.CANCELLED:
            return EndpointUnavailable(f"{self._address} cut the stream")
        try:
            await self._call.read()
        except grpc.aio.AioRpcError as failure:
            if is_ours(failure):
                return error_of(failure, self._address)
        return EndpointUnavailable(f"{self._address} went away")

    async def finish(self) -> None:
        """End the stream in order, once all that was to be said is said."""
        async with self._writing:
            with suppress(grpc.aio.AioRpcError):
                await self._call.done_writing()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                while await self._messages.get() is not None:
                    pass

    async def aclose(self) -> None:
        """Cut the stream."""
        for task in self._tasks:
            task.cancel()
        self._call.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        # A task of its own, for gRPC takes a cancelled read for the end of the whole stream.
        try:
            while isinstance(message := await self._call.read(), bytes):
                if question := report_in(message):
                    self._question, _ = question
                    self._asked.set()
                else:
                    await self._messages.put(message)
        except (grpc.aio.AioRpcError, WireError):
            pass  # `reason` tells
        except asyncio.CancelledError:
            if is_cancelled():
                raise  # else gRPC says so that the other end has cancelled the stream
        self._call.cancel()  # nothing, unless what came made no sense
        await self._messages.put(None)

    async def _report(self) -> None:
        with _quiet:
            async for report in self._handler.reports(REPORT_SECONDS):
                await self._send(0, report)
            self._on_end()

    async def _answer(self) -> None:
        with _quiet:
            while await self._asked.wait():
                self._asked.clear()
                await self._send(self._question, self._handler.report())

    async def _send(self, number: int, report: NodeReport) -> None:
        body = encode_report(report).SerializeToString()
        await self.write(encode_report_message(number, body))


@asynccontextmanager
async def attached_to(
    address: str, tls: TlsFiles | None, handler: CallHandler, on_end: Callable[[], object]
) -> AsyncIterator[NodeStream]:
    """Attach a node to an orchestrator while the block runs.

    Args:
        address: Where the orchestrator listens: "host:port" or "unix:/path".
        tls: The node's certificate, and who signs the orchestrator's; None is plaintext. The
            files are read anew each time, so a renewed certificate needs no restart.
        handler: The node.
        on_end: Called when the node's reports end, which is when the node does.

    Raises:
        CallError: The orchestrator is not there, or does not accept the node.
        SettingsError: A TLS file is no good.
    """
    credentials = client_credentials(tls) if tls else None
    connection = Connection(address, credentials, _OPTIONS, "orchestrator")
    try:
        channel = await connection.ready(CONNECT_SECONDS)
        # The messages are written and read by hand: protobuf would copy each one twice more.
        stream = NodeStream(channel.stream_stream(ATTACH)(), address, handler, on_end)
        try:
            await stream.accepted()
            yield stream
        finally:
            await stream.aclose()
    finally:
        await connection.aclose()
