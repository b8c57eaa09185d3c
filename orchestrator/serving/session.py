"""A session as the node sees it: frames in, calls run side by side, frames out."""

import asyncio
from typing import Any, Protocol

from orchestrator.core.call import Chunks
from orchestrator.core.errors import (
    CallError,
    EndpointUnavailable,
    InvalidInput,
    Overloaded,
    WireError,
)
from orchestrator.core.spec import DEFAULT_DEADLINE
from orchestrator.serving.exchange import Exchange
from orchestrator.wire.frames import WINDOW_BYTES, Assembler, Kind
from orchestrator.wire.messages import decode_credit, encode_timings, parse
from orchestrator.wire.outbox import Outbox
from orchestrator.wire.status import encode_error
from protos.isthmus.v1 import node_pb2 as pb

_GOING = "the node is going away"

_TURN_CHUNKS = 16
"""Chunks of one stream after which others get their turn, however ready it is."""


class MessageStream(Protocol):
    """Both directions of a stream of messages at the node."""

    async def read(self) -> Any:
        """Return the next message, or something else at the end."""

    async def write(self, message: pb.SessionMessage) -> None:
        """Send a message; wait while the other side does not read."""


class _Window:
    """How much of a stream may still be sent before its reader has caught up."""

    def __init__(self) -> None:
        self._left = WINDOW_BYTES
        self._open = asyncio.Event()
        self._open.set()

    def change(self, by: int) -> None:
        self._left = min(self._left + by, WINDOW_BYTES)
        if self._left > 0:
            self._open.set()
        else:
            self._open.clear()

    async def opened(self) -> None:
        await self._open.wait()


class NodeSession:
    """One session of one caller, from its first message to its last.

    Args:
        exchange: Translates messages for the node.
        stream: Both directions of the stream.
        most: The most bytes of one body.
    """

    def __init__(self, exchange: Exchange, stream: MessageStream, most: int) -> None:
        self._exchange = exchange
        self._node = exchange.node
        self._stream = stream
        self._assembler = Assembler(most)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._windows: dict[int, _Window] = {}
        self._closing = False
        # Who asks for more than the node takes is told so, but at no cost in tasks.
        self._limit = 2 * self._node.options.max_in_flight
        self._outbox = Outbox(self._write, self._running.__len__)

    async def run(self, closing: asyncio.Event) -> None:
        """Serve until the caller has gone, or the node closes.

        Args:
            closing: Set when the node closes.

        Raises:
            WireError: The caller's frames make no sense.
        """
        writing = asyncio.create_task(self._outbox.run())
        reading = asyncio.create_task(self._read())
        leaving = asyncio.create_task(closing.wait())
        try:
            await asyncio.wait({reading, writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
            elif leaving.done():
                await self._finish(reading)
                self._outbox.close()
                await writing
        finally:
            tasks = [writing, reading, leaving, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, reading: asyncio.Task[None]) -> None:
        """Take no new calls and wait for those inside; they may still need credit."""
        self._closing = True
        while self._running and not reading.done():
            waiting = {*self._running.values(), reading}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _read(self) -> None:
        while isinstance(message := await self._stream.read(), pb.SessionMessage):
            for frame in self._assembler.whole(message.frames):
                self._take(*frame)
                # Whoever asks and does not read the answers is not heard any further.
                await self._outbox.room()

    def _take(self, kind: Kind, number: int, body: bytes | None) -> None:
        if body is None:
            refusal = InvalidInput(
                "the call is larger than this node takes: raise max_call_mib on both sides",
                shareable=True,
            )
            self._fail(number, refusal, pb.InvokeRequest())
        elif kind in (Kind.CALL, Kind.OPEN):
            self._start(kind, number, body)
        elif kind is Kind.CANCEL:
            if task := self._running.get(number):
                self._outbox.drop(number)
                task.cancel()
        elif kind is Kind.CREDIT:
            if window := self._windows.get(number):
                window.change(decode_credit(body))
        else:
            raise WireError(f"a caller sent a {kind.name} frame")

    def _start(self, kind: Kind, number: int, body: bytes) -> None:
        if number in self._running:
            raise WireError("a caller used the number of a call twice")
        request = parse(pb.InvokeRequest, body)
        if self._closing:
            self._fail(number, EndpointUnavailable(_GOING, shareable=True), request)
            return
        if len(self._running) >= self._limit:
            refusal = Overloaded("the session has too many calls", shareable=True)
            self._fail(number, refusal, request)
            return
        answer = self._answer if kind is Kind.CALL else self._answer_stream
        task = asyncio.create_task(answer(number, request, len(body)))
        self._running[number] = task
        task.add_done_callback(lambda _: self._running.pop(number, None))

    async def _answer(self, number: int, request: pb.InvokeRequest, length: int) -> None:
        try:
            call = self._exchange.call_of(request, length, DEFAULT_DEADLINE, stream=False)
            reply = self._exchange.reply_of(await self._node.handle(call))
        except (Exception, asyncio.CancelledError) as error:
            self._fail(number, error, request)
        else:
            self._outbox.put(Kind.RESULT, number, reply.SerializeToString())

    async def _answer_stream(self, number: int, request: pb.InvokeRequest, length: int) -> None:
        window, sent = _Window(), 0
        self._windows[number] = window
        try:
            call = self._exchange.call_of(request, length, DEFAULT_DEADLINE, stream=True)
            chunks: Chunks = (await self._node.handle(call)).value
            try:
                async for chunk in chunks:
                    body = self._exchange.payload_of(chunk).SerializeToString()
                    self._outbox.put(Kind.CHUNK, number, body)
                    window.change(-len(body))
                    await window.opened()
                    if sent % _TURN_CHUNKS == 0:
                        await asyncio.sleep(0)
                    sent += 1
            finally:
                await chunks.aclose()
        except (Exception, asyncio.CancelledError) as error:
            self._fail(number, error, request)
        else:
            end = encode_timings(chunks.timings).SerializeToString()
            self._outbox.put(Kind.END, number, end)
        finally:
            del self._windows[number]

    def _fail(self, number: int, error: BaseException, request: pb.InvokeRequest) -> None:
        ours: CallError = self._exchange.error_of(error, request)
        self._outbox.put(Kind.ERROR, number, encode_error(ours))

    async def _write(self, message: bytes) -> None:
        await self._stream.write(pb.SessionMessage(frames=message))
