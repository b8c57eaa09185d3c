"""The channel over a session: many numbered calls on one long-lived stream.

Unary gRPC costs some 300 microseconds of CPU a call in Python, on both ends together; a frame
that shares its message with others costs a tenth of that.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
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
from orchestrator.core.report import NodeReport
from orchestrator.wire.frames import WINDOW_BYTES, Assembler, Kind
from orchestrator.wire.guard import MAX_CALL_BYTES, let_out
from orchestrator.wire.messages import decode_timings, encode_call, encode_credit, parse
from orchestrator.wire.outbox import Outbox
from orchestrator.wire.payloads import decode, unpack
from orchestrator.wire.status import decode_error, error_of, is_ours
from orchestrator.wire.unary import CONNECT_SECONDS, UnaryChannel, longest_message
from policies.facts import Clearance
from protos.isthmus.v1 import node_pb2 as pb

_GRANT_BYTES = 256 * 1024
"""What a reader of a stream takes before it tells the node: a part of what the node may send."""


class MessageStream(Protocol):
    """Both directions of one stream of messages."""

    def __aiter__(self) -> AsyncIterator[pb.SessionMessage]: ...

    async def write(self, message: pb.SessionMessage) -> None:
        """Send a message; wait while the other side does not read."""

    def cancel(self) -> bool:
        """End both directions at once."""


class _Answer:
    """What has come for one call so far."""

    def __init__(self) -> None:
        self.frames: deque[tuple[Kind, bytes | None]] = deque()
        self.unread = 0
        self.ready: asyncio.Future[None] | None = None
        self.gone: CallError | None = None

    def add(self, kind: Kind, body: bytes | None) -> None:
        self.frames.append((kind, body))
        self.unread += len(body or b"")
        self._wake()

    def lose(self, error: CallError) -> None:
        self.gone = error
        self._wake()

    def _wake(self) -> None:
        if self.ready is not None and not self.ready.done():
            self.ready.set_result(None)

    async def next(self) -> tuple[Kind, bytes | None]:
        """Return the next frame; raise the error of a session that ended."""
        if not self.frames and self.gone is None:
            self.ready = asyncio.get_running_loop().create_future()
            await self.ready
        if self.gone is not None and not self.frames:
            raise self.gone
        kind, body = self.frames.popleft()
        self.unread -= len(body or b"")
        return kind, body


class Session:
    """One session as its caller sees it.

    Args:
        stream: Both directions of the stream.
        address: Who is at the other end, for errors.
        most: The most bytes of one body.
    """

    def __init__(self, stream: MessageStream, address: str, most: int) -> None:
        self._stream = stream
        self._address = address
        self._most = most
        self._assembler = Assembler(most)
        self._answers: dict[int, _Answer] = {}
        self._last = 0
        self._outbox = Outbox(self._write, self._answers.__len__)
        self.ended = False
        self._writing = asyncio.create_task(self._send())
        self._reading = asyncio.create_task(self._read())

    async def call(self, request: bytes) -> bytes:
        """Send an InvokeRequest and return the InvokeReply; leaving early cancels the call."""
        number = self._start(Kind.CALL, request)
        try:
            kind, body = await self._answers[number].next()
        except asyncio.CancelledError:
            self._leave(number)
            raise
        finally:
            self._answers.pop(number, None)
        if kind is Kind.RESULT and body is not None:
            return body
        raise self._error(kind, body)

    async def stream(self, request: bytes) -> AsyncGenerator[tuple[Kind, bytes], None]:
        """Send an InvokeRequest of a stream; yield its chunks and its end."""
        number = self._start(Kind.OPEN, request)
        answer, read, kind = self._answers[number], 0, Kind.OPEN
        try:
            while kind is not Kind.END:
                kind, body = await answer.next()
                if body is None or kind not in (Kind.CHUNK, Kind.END):
                    raise self._error(kind, body)
                read += len(body)
                if read >= _GRANT_BYTES:
                    self._outbox.put(Kind.CREDIT, number, encode_credit(read))
                    read = 0
                yield kind, body
        finally:
            if kind in (Kind.OPEN, Kind.CHUNK):
                self._leave(number)
            self._answers.pop(number, None)

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

    def _start(self, kind: Kind, request: bytes) -> int:
        if self.ended:
            raise EndpointUnavailable(f"the session to {self._address} has ended")
        self._last += 1
        self._answers[self._last] = _Answer()
        self._outbox.put(kind, self._last, request)
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

    async def _write(self, message: bytes) -> None:
        await self._stream.write(pb.SessionMessage(frames=message))

    async def _send(self) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader hears why
            await self._outbox.run()

    async def _read(self) -> None:
        reason: CallError | None = None
        try:
            async for message in self._stream:
                for kind, number, body in self._assembler.whole(message.frames):
                    if answer := self._answers.get(number):  # else its caller has left
                        answer.add(kind, body)
                        if answer.unread > self._most + WINDOW_BYTES:
                            raise WireError(f"{self._address} sends more than its credit allows")
        except grpc.aio.AioRpcError as failure:
            reason = error_of(failure, self._address) if is_ours(failure) else None
        except WireError as error:
            reason = error
        finally:
            self._end(reason)

    def _end(self, reason: CallError | None) -> None:
        """Resolve every call: those that were never sent may go elsewhere whatever they are."""
        self.ended = True
        self._stream.cancel()
        self._writing.cancel()
        unsent, said = self._outbox.unsent(), f"{self._address} went away during the call"
        for number, answer in self._answers.items():
            if reason is None or number in unsent:
                answer.lose(EndpointUnavailable(said, sent=number not in unsent))
            else:
                answer.lose(type(reason)(str(reason), node=self._address))


class SessionChannel:
    """Sends calls to a node over a session; use it on one event loop only.

    The session is opened with the first call, and again with the next call after it has ended.

    Args:
        address: Where the node listens: "host:port" or "unix:/path".
        clearance: The most private data it may receive.
        credentials: TLS; None is plaintext.
        identity: The name its certificate must bear, if not the host of the address.
        max_bytes: The most that one call may carry.
    """

    def __init__(
        self,
        address: str,
        clearance: Clearance,
        credentials: grpc.ChannelCredentials | None = None,
        identity: str = "",
        max_bytes: int = MAX_CALL_BYTES,
    ) -> None:
        self._address = address
        self._clearance = clearance
        self._max_bytes = max_bytes
        self._plain = UnaryChannel(address, clearance, credentials, identity, max_bytes)
        self._session: Session | None = None
        self._wheel = Wheel()

    async def send(self, call: Call) -> Reply:
        """Send a call and return the answer; see `Channel.send`."""
        request = encode_call(call, let_out(call, self._clearance, self._max_bytes))
        session = self._session
        if session is None or session.ended:
            session = await self._open(min(CONNECT_SECONDS, call.deadline.left()))
        if call.stream:
            timings: list[Timings] = []
            chunks = self._chunks(session, call.deadline, request.SerializeToString(), timings)
            return Reply(Chunks(chunks, lambda: timings[-1] if timings else Timings()))
        with self._within(call.deadline):
            body = await session.call(request.SerializeToString())
        message = parse(pb.InvokeReply, body)
        return Reply(unpack(decode(message.result)), decode_timings(message.timings))

    async def _chunks(
        self, session: Session, deadline: Deadline, request: bytes, end: list[Timings]
    ) -> AsyncGenerator[Any, None]:
        frames = session.stream(request)
        try:
            while True:
                with self._within(deadline):
                    kind, body = await anext(frames)
                if kind is Kind.END:
                    end.append(decode_timings(parse(pb.Timings, body)))
                    return
                yield unpack(decode(parse(pb.Payload, body)))
        finally:
            await frames.aclose()

    @contextmanager
    def _within(self, deadline: Deadline) -> Iterator[None]:
        """Give up at the deadline, whatever the node does."""
        limit = self._wheel.limit(deadline.left())
        try:
            with limit:
                yield
        except TimeoutError:
            if limit.expired:
                raise DeadlineExceeded from None
            raise

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""
        return await self._plain.describe()

    def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        return self._plain.watch(interval)

    async def aclose(self) -> None:
        """Close the channel; calls in flight end with EndpointUnavailable."""
        if self._session is not None:
            await self._session.aclose()
        await self._plain.aclose()

    async def _open(self, seconds: float) -> Session:
        stub = await self._plain.connected(seconds)
        if self._session is None or self._session.ended:  # another call may have been faster
            self._session = Session(stub.Session(), self._address, longest_message(self._max_bytes))
        return self._session
