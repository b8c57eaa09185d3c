"""A session as its caller sees it: many numbered calls on one long-lived stream.

Unary gRPC costs some 300 microseconds of CPU a call in Python, on both ends together; a frame
that shares its message with others costs a twentieth of that.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Protocol

import grpc

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    WireError,
)
from orchestrator.core.limits import Wheel
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.bodies import decode_reply, decode_timings, decode_value, encode_call
from orchestrator.wire.frames import CHUNK_BYTES, WINDOW_BYTES, Buffer, Kind, size_of
from orchestrator.wire.memory import SharedMemory
from orchestrator.wire.messages import encode_credit
from orchestrator.wire.outbox import Outbox
from orchestrator.wire.payloads import Packed, unpack
from orchestrator.wire.status import decode_error, error_of, is_ours

_GRANT_BYTES = 256 * 1024
"""What a reader of a stream takes before it tells the node: a part of what the node may send."""


class MessageStream(Protocol):
    """Both directions of one stream of messages, as a caller holds it."""

    async def read(self) -> Any:
        """Return the next message; something that is no bytes at the end."""

    async def write(self, message: bytes, /) -> None:
        """Send a message; wait while the other side does not read."""

    def cancel(self) -> object:
        """End both directions at once."""


_Answer = tuple[Kind, bytes | None]


class _Inbox:
    """What has come for one stream and was not taken yet."""

    def __init__(self) -> None:
        self.frames: deque[_Answer] = deque()
        self.uncredited = 0
        self._over = False
        self._ready: asyncio.Future[None] | None = None
        self._lost: CallError | None = None

    def add(self, kind: Kind, body: bytes | None) -> bool:
        """Take a frame; say whether the node had the credit for it."""
        if self._over:  # what comes after the last frame is nobody's
            return True
        if kind is Kind.CHUNK:
            if self.uncredited >= WINDOW_BYTES:
                return False
            self.uncredited += size_of(body) + CHUNK_BYTES
        else:
            self._over = True
        self.frames.append((kind, body))
        self._wake()
        return True

    def lose(self, error: CallError) -> None:
        self._lost = error
        self._wake()

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    async def next(self) -> _Answer:
        """Return the next frame; raise the error of a stream that was lost."""
        if not self.frames:
            if self._lost is None:
                self._ready = asyncio.get_running_loop().create_future()
                await self._ready
            if not self.frames and self._lost is not None:
                raise self._lost
        return self.frames.popleft()


def _expire(waiting: "_Inbox | asyncio.Future[_Answer]") -> None:
    if isinstance(waiting, _Inbox):
        waiting.lose(DeadlineExceeded())
    elif not waiting.done():
        waiting.set_exception(DeadlineExceeded())


class Session:
    """One session: it begins with its stream and ends with it.

    Args:
        stream: Both directions of the stream.
        address: Who is at the other end, for errors.
        most: The most bytes of one body.
        memory: What it shares with a node on this machine; None if nothing.
    """

    def __init__(
        self, stream: MessageStream, address: str, most: int, memory: SharedMemory | None = None
    ) -> None:
        self._stream = stream
        self._address = address
        self._memory = memory
        self._assembler = Assembler(most, memory)
        self._calls: dict[int, asyncio.Future[_Answer]] = {}
        self._streams: dict[int, _Inbox] = {}
        self._last = 0
        self._outbox = Outbox(stream.write, self._calls.__len__, memory=memory)
        self._wheel: Wheel[_Inbox | asyncio.Future[_Answer]] = Wheel(_expire)
        self._loop = asyncio.get_running_loop()
        self.ended = False
        if memory is not None:
            memory.offer()
        self._writing = asyncio.create_task(self._send())
        self._reading = asyncio.create_task(self._read())

    async def send(self, call: Call, packed: Packed) -> Reply:
        """Send a call that the guard has let out; see `Channel.send`."""
        body = encode_call(call, packed)
        if call.stream:
            timings: list[Timings] = []
            chunks = self._chunks(body, call.deadline, timings)
            return Reply(Chunks(chunks, lambda: timings[-1] if timings else Timings()))
        result, measured = decode_reply(await self.call(body, call.deadline))
        return Reply(unpack(result), measured)

    async def call(self, body: Buffer | list[Buffer], deadline: Deadline) -> bytes:
        """Send a call and return the body of its reply; leaving early cancels the call."""
        number = self._start(Kind.CALL, body)
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        self._calls[number] = answer
        slot = self._wheel.slot(deadline)
        slot.add(answer)
        try:
            kind, reply = await answer
        except (asyncio.CancelledError, DeadlineExceeded):
            self._leave(number)
            raise
        finally:
            slot.discard(answer)
            self._calls.pop(number, None)
            del answer  # an error on its way would keep a reply in shared memory alive
        if kind is Kind.RESULT and reply is not None:
            return reply
        raise self._error(kind, reply)

    async def stream(
        self, body: Buffer | list[Buffer], deadline: Deadline
    ) -> AsyncGenerator[tuple[Kind, bytes], None]:
        """Send a call of a stream; yield its chunks and its end."""
        number = self._start(Kind.OPEN, body)
        inbox = self._streams[number] = _Inbox()
        slot = self._wheel.slot(deadline)
        slot.add(inbox)
        read, kind = 0, Kind.OPEN
        try:
            while kind is not Kind.END:
                kind, chunk = await inbox.next()
                if chunk is None or kind not in (Kind.CHUNK, Kind.END):
                    raise self._error(kind, chunk)
                read += size_of(chunk) + CHUNK_BYTES
                if read >= _GRANT_BYTES:
                    self._outbox.put(Kind.CREDIT, number, encode_credit(read))
                    inbox.uncredited -= read
                    read = 0
                yield kind, chunk
        finally:
            slot.discard(inbox)
            del self._streams[number]
            if kind in (Kind.OPEN, Kind.CHUNK):
                self._leave(number)

    async def aclose(self) -> None:
        """End the session; calls in flight end with EndpointUnavailable."""
        self._stream.cancel()
        self._reading.cancel()
        self._writing.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        with suppress(asyncio.CancelledError):
            await self._writing
        if not self.ended:  # its reader was cancelled before its first turn
            self._end(None)

    async def _chunks(
        self, body: list[Buffer], deadline: Deadline, end: list[Timings]
    ) -> AsyncGenerator[Any, None]:
        frames = self.stream(body, deadline)
        try:
            async for kind, chunk in frames:
                if kind is Kind.END:
                    end.append(decode_timings(chunk))
                    return
                yield unpack(decode_value(chunk))
        finally:
            await frames.aclose()

    def _start(self, kind: Kind, body: Buffer | list[Buffer]) -> int:
        if self.ended:
            raise EndpointUnavailable(f"the session to {self._address} has ended")
        self._last += 1
        self._outbox.put(kind, self._last, body)
        return self._last

    def _leave(self, number: int) -> None:
        """Tell the node that nobody waits for a call any more, if it has heard of it."""
        if not self.ended and not self._outbox.drop(number):
            self._outbox.put(Kind.CANCEL, number)

    def _error(self, kind: Kind, body: bytes | None) -> CallError:
        if body is None:
            return InvalidInput(
                f"the answer of {self._address} is larger than this side takes: raise "
                "max_call_mib on both sides"
            )
        if kind is Kind.ERROR:
            return decode_error(body, self._address)
        return WireError(f"{self._address}: a {kind.name} frame where none may be")

    async def _send(self) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader hears why
            await self._outbox.run()

    async def _read(self) -> None:
        reason: CallError | None = None
        try:
            while isinstance(message := await self._stream.read(), bytes):
                self._take(message)
        except grpc.aio.AioRpcError as failure:
            reason = error_of(failure, self._address) if is_ours(failure) else None
        except WireError as error:
            reason = error
        finally:
            self._end(reason)

    def _take(self, message: bytes) -> None:
        for kind, number, body in self._assembler.whole(message):
            answer = self._calls.pop(number, None)
            if answer is not None:
                if not answer.done():
                    answer.set_result((kind, body))
            # Without an inbox its caller has left.
            elif (inbox := self._streams.get(number)) and not inbox.add(kind, body):
                raise WireError(f"{self._address} sends more than its credit allows")

    def _end(self, reason: CallError | None) -> None:
        """Resolve every call: those that were never sent may go elsewhere whatever they are."""
        self.ended = True
        self._stream.cancel()
        self._writing.cancel()
        self._wheel.stop()
        unsent = self._outbox.unsent()
        for number, answer in self._calls.items():
            if not answer.done():
                answer.set_exception(self._lost(number in unsent, reason))
        for number, inbox in self._streams.items():
            inbox.lose(self._lost(number in unsent, reason))
        if self._memory is not None:
            self._memory.close()

    def _lost(self, unsent: bool, reason: CallError | None) -> CallError:
        if reason is None or unsent:
            said = f"{self._address} went away during the call"
            return EndpointUnavailable(said, sent=not unsent)
        return type(reason)(str(reason), node=self._address)
