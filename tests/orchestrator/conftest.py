"""What many tests share: a stream of messages in memory, and a loop on which time jumps."""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from orchestrator.wire.assembler import Assembler
from orchestrator.wire.frames import Frame, encode_frame, encode_message

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Lane:
    """One direction: messages in order, the writer at most `capacity` ahead of the reader."""

    def __init__(self, capacity: int, latency: Callable[[], float] | None = None) -> None:
        self.capacity = capacity
        self.held = False
        self.passed: list[bytes] = []
        self.passing: Callable[[], None] = lambda: None  # told before each message
        self._latency = latency
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._lost = self._finished = False

    def hold(self) -> None:
        """Let no message through until `release`: a reader that does not read."""
        self.held = True

    def release(self) -> None:
        self.held = False
        self._news.set()

    def lose(self) -> None:
        """Forget what is on its way; nothing passes any more."""
        self._lost = True
        self._waiting.clear()
        self._news.set()

    def finish(self) -> None:
        """End after what is on its way."""
        self._finished = True
        self._news.set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def put(self, message: bytes) -> bool:
        """Say whether it was taken."""
        await self._until(lambda: self._ended or len(self._waiting) < self.capacity)
        if not self._ended:
            self._waiting.append(message)
            self._news.set()
        return not self._ended

    async def get(self) -> bytes | None:
        if self._latency:
            await asyncio.sleep(self._latency())
        await self._until(lambda: (self._waiting and not self.held) or self._ended)
        if self._waiting:
            self.passing()
        if not self._waiting:
            return None
        self._news.set()
        self.passed.append(message := self._waiting.popleft())
        return message

    @property
    def _ended(self) -> bool:
        return self._lost or self._finished

    async def _until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()


class NodeEnd:
    """What a node reads from and writes to."""

    def __init__(self, link: "Link") -> None:
        self._link = link

    async def read(self) -> Any:
        message = await self._link.to_node.get()
        return grpc.aio.EOF if message is None else message

    async def write(self, message: bytes) -> None:
        if not await self._link.to_caller.put(message):
            raise grpc.RpcError("the caller has gone")


class CallerEnd:
    """What a caller reads from and writes to."""

    def __init__(self, link: "Link") -> None:
        self._link = link
        self.cancelled = False

    async def read(self) -> Any:
        if (message := await self._link.to_caller.get()) is not None:
            return message
        if self.cancelled:
            raise asyncio.CancelledError
        if self._link.status:
            raise self._link.status
        return grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        if not await self._link.to_node.put(message):
            raise self._link.status or asyncio.InvalidStateError("the stream has ended")

    def cancel(self) -> bool:
        self.cancelled = True
        self._link.to_caller.lose()
        self._link.to_node.lose()
        return True


class Script:
    """An end of the stream that a test plays by hand."""

    def __init__(self, reads: Lane, writes: Lane) -> None:
        self._reads, self._writes = reads, writes
        self._assembler = Assembler(2**30)
        self._frames: deque[Frame] = deque()

    async def say(self, *frames: tuple[Any, ...]) -> None:
        """Send frames in one message."""
        await self.say_bytes(encode_message(encode_frame(*frame) for frame in frames))

    async def say_bytes(self, message: bytes) -> None:
        await self._writes.put(message)

    async def hear(self, seconds: float = 20.0) -> Frame:
        """Return the next frame of the other end."""
        async with asyncio.timeout(seconds):
            while not self._frames:
                message = await self._reads.get()
                assert message is not None, "the stream has ended"
                self._frames.extend(self._assembler.whole(message))
        return self._frames.popleft()

    async def hear_all(self, turns: int = 50) -> list[Frame]:
        """Return what the other end says without time passing."""
        for _ in range(turns):
            while self._reads.waiting and not self._reads.held:
                self._frames.extend(self._assembler.whole(await self._reads.get() or b""))
            await asyncio.sleep(0)
        heard = list(self._frames)
        self._frames.clear()
        return heard


class Link:
    """A stream of messages between a caller and a node, which a test can hold up or cut.

    Args:
        capacity: How many messages a writer may be ahead of its reader.
        latency: Seconds that each message takes.
    """

    def __init__(self, capacity: int = 8, latency: Callable[[], float] | None = None) -> None:
        self.to_node = Lane(capacity, latency)
        self.to_caller = Lane(capacity, latency)
        self.status: AioRpcError | None = None
        self.caller = CallerEnd(self)
        self.node = NodeEnd(self)
        self.as_node = Script(self.to_node, self.to_caller)
        self.as_caller = Script(self.to_caller, self.to_node)

    def lose(self, code: grpc.StatusCode = UNAVAILABLE, details: str = "lost") -> None:
        """Cut it: what is on its way is lost."""
        self.status = self.status or AioRpcError(code, Metadata(), Metadata(), details)
        self.to_caller.lose()
        self.to_node.lose()

    def finish(self, code: grpc.StatusCode | None = None, trailers: Iterable[Any] = ()) -> None:
        """End it as the node's handler ends: what it has said still arrives."""
        if code is not None and self.status is None:
            self.status = AioRpcError(code, Metadata(), Metadata(*trailers), "ended")
        self.to_caller.finish()
        self.to_node.lose()


@pytest.fixture
def new_link() -> type[Link]:
    """Make streams in memory."""
    return Link


class _Jump(selectors.DefaultSelector):
    """Instead of waiting it turns the loop's clock."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class FastLoop(asyncio.SelectorEventLoop):
    """A loop on which waiting takes no time: its clock jumps to whatever comes next."""

    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now

    def stand_still(self, seconds: float) -> None:
        """Let time pass as if the loop were blocked."""
        self.jump.now += seconds


@pytest.fixture
def fast() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine on a loop on which waiting takes no time."""

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            return runner.run(work)

    return run
