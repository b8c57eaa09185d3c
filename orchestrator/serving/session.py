"""A session as the node sees it: frames in, calls run side by side, frames out."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

from orchestrator.core.call import Chunks
from orchestrator.core.errors import (
    CallError,
    EndpointUnavailable,
    InvalidInput,
    Overloaded,
    WireError,
)
from orchestrator.serving.crew import Crew
from orchestrator.serving.exchange import Exchange
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.bodies import call_id_in, encode_reply, encode_timings, encode_value
from orchestrator.wire.frames import CHUNK_BYTES, WINDOW_BYTES, Frame, Kind
from orchestrator.wire.memory import SharedMemory
from orchestrator.wire.messages import decode_credit
from orchestrator.wire.outbox import Outbox
from orchestrator.wire.status import encode_error

_GOING = "the node is going away"

_TURN_CHUNKS = 16
"""Chunks of one stream after which others get their turn, however ready it is."""


class MessageStream(Protocol):
    """Both directions of a stream of messages at the node."""

    async def read(self) -> Any:
        """Return the next message; something that is no bytes at the end."""

    async def write(self, message: bytes, /) -> None:
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
        memory: What it shares with a caller on this machine; None if nothing.
    """

    def __init__(
        self,
        exchange: Exchange,
        stream: MessageStream,
        most: int,
        memory: SharedMemory | None = None,
    ) -> None:
        self._exchange = exchange
        self._node = exchange.node
        self._stream = stream
        self._memory = memory
        self._assembler = Assembler(most, memory, exchange.budget)
        self._frames: Iterator[Frame] = iter(())
        self._crew = Crew(self._work)
        self._outbox = Outbox(stream.write, memory=memory)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._windows: dict[int, _Window] = {}
        self._closing = False
        self._quiet = asyncio.Event()
        # Who asks for more than the node takes is told so, but at no cost in tasks.
        self._limit = 2 * self._node.options.max_in_flight

    async def run(self, closing: asyncio.Event) -> None:
        """Serve until the caller has gone, or the node closes.

        Args:
            closing: Set when the node closes.

        Raises:
            WireError: The caller's frames make no sense.
        """
        writing = asyncio.create_task(self._outbox.run())
        leaving = asyncio.create_task(closing.wait())
        over = self._crew.over
        self._crew.start()
        ends: set[asyncio.Future[Any]] = {over, writing, leaving}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                over.result()
            elif leaving.done():
                await self._finish()
                self._outbox.close()
                await writing
        finally:
            tasks = {writing, leaving, *self._running.values()}
            for task in tasks:
                task.cancel()
            try:
                await self._crew.aclose()
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:  # the end of a server cancels this a second time
                self._assembler.close()
                if self._memory is not None:
                    self._memory.close()

    async def _finish(self) -> None:
        """Take no new calls and wait for those inside; they may still need credit."""
        self._closing = True
        if self._running:
            self._quiet.clear()
            quiet = asyncio.create_task(self._quiet.wait())
            waits: set[asyncio.Future[Any]] = {quiet, self._crew.over}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            quiet.cancel()

    async def _work(self) -> bool:
        """Take frames, for as long as this task leads; say whether there may be more."""
        for kind, number, body in self._frames:
            if self._outbox.full:  # who asks and does not read the answers is not heard further
                await self._outbox.room()
            if kind is Kind.CALL and body is not None:
                if self._may_start(number, body) and await self._answer(number, body):
                    return True
            else:
                self._take(kind, number, body)
        body = None  # the next message may take its time, and this may lie in shared memory
        message = await self._stream.read()
        if not isinstance(message, bytes):
            return False
        self._frames = self._assembler.whole(message)
        return True

    def _take(self, kind: Kind, number: int, body: bytes | None) -> None:
        if body is None:
            refusal = InvalidInput(
                "the call is larger than this node takes: raise max_call_mib on both sides",
                shareable=True,
            )
            self._fail(number, refusal, "")
        elif kind is Kind.OPEN:
            if self._may_start(number, body):
                stream = asyncio.create_task(self._answer_stream(number, body))
                self._running[number] = stream
                # Not at its own end: cancelled before its first turn, it would have none.
                stream.add_done_callback(lambda _: self._ends(number))
        elif kind is Kind.CANCEL:
            self._outbox.drop(number)
            if task := self._running.get(number):
                task.cancel()
        elif kind is Kind.CREDIT:
            if window := self._windows.get(number):
                window.change(decode_credit(body))
        else:
            raise WireError(f"a caller sent a {kind.name} frame")

    def _may_start(self, number: int, body: bytes) -> bool:
        if number in self._running:
            raise WireError("a caller used the number of a call twice")
        if self._closing:
            refusal: CallError = EndpointUnavailable(_GOING, shareable=True)
        elif len(self._running) >= self._limit:
            refusal = Overloaded("the session has too many calls", shareable=True)
        else:
            return True
        self._fail(number, refusal, call_id_in(body))
        return False

    async def _answer(self, number: int, body: bytes) -> bool:
        """Run a call and answer it; say whether this task gave the lead away meanwhile."""
        try:
            call = self._exchange.call_in(body, stream=False)
            reply = await self._node.handle(call, partial(self._waits, number))
            packed = self._exchange.packed(reply.value)
            self._outbox.put(Kind.RESULT, number, encode_reply(reply.timings, packed))
        except (Exception, asyncio.CancelledError) as error:
            self._fail(number, error, call_id_in(body))
        return (bool(self._running) and self._ends(number)) or self._crew.gives_way()

    def _waits(self, number: int) -> None:
        self._running[number] = self._crew.waits()

    def _ends(self, number: int) -> bool:
        """Forget a call that had to wait; say whether it was one."""
        waited = self._running.pop(number, None) is not None
        if not self._running:
            self._quiet.set()
        return waited

    async def _answer_stream(self, number: int, body: bytes) -> None:
        window, sent = _Window(), 0
        self._windows[number] = window
        try:
            call = self._exchange.call_in(body, stream=True)
            chunks: Chunks = (await self._node.handle(call)).value
            try:
                async for chunk in chunks:
                    pieces = encode_value(self._exchange.packed(chunk))
                    self._outbox.put(Kind.CHUNK, number, pieces)
                    window.change(-CHUNK_BYTES - sum(map(len, pieces)))
                    await window.opened()
                    if self._outbox.full:  # of all streams together
                        await self._outbox.room()
                    if sent % _TURN_CHUNKS == 0:
                        await asyncio.sleep(0)
                    sent += 1
            finally:
                await chunks.aclose()
        except (Exception, asyncio.CancelledError) as error:
            self._fail(number, error, call_id_in(body))
        else:
            self._outbox.put(Kind.END, number, encode_timings(chunks.timings))
        finally:
            del self._windows[number]

    def _fail(self, number: int, error: BaseException, call_id: str) -> None:
        ours: CallError = self._exchange.error_of(error, call_id)
        self._outbox.put(Kind.ERROR, number, encode_error(ours))
