"""What is fuzzed: the parser of frames, the readers of bodies, and both ends of a session."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Protocol

import grpc
import numpy as np

from benchmarks.proofs.app import stall
from benchmarks.proofs.bodies import READERS, call_body, chunk_body, end_body, result_body
from benchmarks.proofs.mutations import join, split
from benchmarks.proofs.virtual_time import VirtualTime
from orchestrator import edge_service
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import CallError, EndpointUnavailable, InvalidInput, WireError
from orchestrator.serving.exchange import Exchange
from orchestrator.serving.session import NodeSession
from orchestrator.testing import running_node
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.frames import Frame, Kind, decode_message, encode_frame, encode_message
from orchestrator.wire.messages import encode_credit
from orchestrator.wire.session import Session
from orchestrator.wire.status import encode_error

MOST_BYTES = 2048
"""The most of one body: small, so that the limit is often met."""

_SECONDS = 20.0
_TURNS = 3

Wrap = Callable[[bytes], bytes]

Whole = Callable[[bytes], Iterable[Frame]]
"""Takes a message and gives the frames that are complete."""


def _message(frames: bytes) -> bytes:
    return encode_message([frames])


class Wrong(AssertionError):
    """A target did what it never may."""


class Target(Protocol):
    """Something that takes any bytes."""

    def __call__(self, data: bytes) -> None:
        """Take an input; raise anything but CallError if it does what it never may."""

    def seeds(self) -> Sequence[bytes]:
        """Return well-formed inputs to begin with."""

    def close(self) -> None:
        """Free what it holds."""


class FramesTarget:
    """The parser of frames.

    Args:
        new: Makes a parser for one session.
        wrap: Makes a message of the bytes of frames, whatever they are.
    """

    def __init__(
        self, new: Callable[[], Whole] = lambda: Assembler(MOST_BYTES).whole, wrap: Wrap = _message
    ) -> None:
        self._new = new
        self._wrap = wrap

    def __call__(self, data: bytes) -> None:
        """Read all messages of one session."""
        whole, size = self._new(), 0
        for message in split(data):
            for kind, _, body in whole(self._wrap(message)):
                size += len(body or b"")
                if kind is Kind.PART or len(body or b"") > max(len(message), MOST_BYTES):
                    raise Wrong("a frame that may not come out")
        if size > len(data):
            raise Wrong("more came out than went in")

    def seeds(self) -> Sequence[bytes]:
        """Return sessions of both directions."""
        return [join(messages) for messages in (_caller_says(), _node_says(), _in_parts())]

    def close(self) -> None:
        """Do nothing."""


class MessagesTarget:
    """The parser of whole messages, what stands before the frames included."""

    def __call__(self, data: bytes) -> None:
        """Read one message."""
        if sum(len(body) for _, _, body in decode_message(data)) > len(data):
            raise Wrong("more came out than went in")

    def seeds(self) -> Sequence[bytes]:
        """Return messages of both directions, short and long."""
        return [_message(frames) for frames in (*_caller_says(), *_node_says(), *_in_parts())]

    def close(self) -> None:
        """Do nothing."""


class BodiesTarget:
    """The readers of the bodies of frames; the first byte of an input chooses one."""

    def __call__(self, data: bytes) -> None:
        """Read one body."""
        if data:
            readers = list(READERS.values())
            readers[data[0] % len(readers)](data[1:])

    def seeds(self) -> Sequence[bytes]:
        """Return bodies of every kind."""
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        value: dict[str, Any] = {
            "text": "ä",
            "rows": array,
            "raw": b"\x00\x01",
            "deep": [[{"a": 1.5}], None],
        }
        bodies = {
            "CALL": call_body("mirror", **value),
            "RESULT": result_body(value),
            "CHUNK": chunk_body(value),
            "END": end_body(),
            "ERROR": encode_error(InvalidInput("no", shareable=True)),
            "CREDIT": encode_credit(1000),
        }
        return [bytes([index]) + bodies[kind] for index, kind in enumerate(READERS)]

    def close(self) -> None:
        """Do nothing."""


class Scripted:
    """A stream that says what it was told and swallows what it hears."""

    def __init__(self, messages: Iterator[bytes]) -> None:
        self._messages = messages
        self._hears = Assembler(2**20)
        self._cancelled = False

    async def read(self) -> Any:
        """Return the next message, or EOF."""
        for _ in range(_TURNS):  # so that what was said has its effect
            await asyncio.sleep(0)
        message = next(self._messages, None)
        ended = message is None or self._cancelled
        return grpc.aio.EOF if ended else _message(message or b"")

    async def write(self, message: bytes) -> None:
        """Check that what the other end says is made of frames."""
        list(self._hears.whole(message))

    def cancel(self) -> bool:
        """End what it says."""
        self._cancelled = True
        return True


class CallerTarget:
    """The caller's end of a session, with two calls and a stream under way."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=VirtualTime)

    def __call__(self, data: bytes) -> None:
        """Let a node say all this."""
        self._runner.run(_bounded(self._live(data)))

    async def _live(self, data: bytes) -> None:
        session = Session(Scripted(split(data)), "node:1", MOST_BYTES)
        due = Deadline.after(_SECONDS, asyncio.get_running_loop().time)
        asking = [session.call(b"1", due), session.call(b"2", due), _read_stream(session, due)]
        ends = await asyncio.gather(*asking, return_exceptions=True)
        await session.aclose()  # raises whatever ended its reader that was no error of ours
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, CallError):
                raise end
        await _check_quiet()

    def seeds(self) -> Sequence[bytes]:
        """Return what nodes say."""
        return [join(messages) for messages in (_node_says(), _in_parts())]

    def close(self) -> None:
        """End its loop."""
        self._runner.close()


class NodeTarget:
    """The node's end of a session, in front of a real node."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=VirtualTime)
        self._stack = AsyncExitStack()
        self._node = self._runner.run(
            self._stack.enter_async_context(running_node("edge", mirror, count, stall))
        )
        self._exchange = Exchange(self._node, MOST_BYTES)
        self._log = _Log()
        logging.getLogger("isthmus.node").addHandler(self._log)

    def __call__(self, data: bytes) -> None:
        """Let a caller say all this."""
        self._runner.run(_bounded(self._live(data)))
        if self._log.said:
            raise Wrong(self._log.said.pop())

    async def _live(self, data: bytes) -> None:
        session = NodeSession(self._exchange, Scripted(split(data)), MOST_BYTES)
        with suppress(WireError):
            await session.run(asyncio.Event())
        await _check_quiet()
        if self._node.admission.inside:
            raise Wrong("calls are left in the node")

    def seeds(self) -> Sequence[bytes]:
        """Return what callers say."""
        return [join(messages) for messages in (_caller_says(), _in_parts())]

    def close(self) -> None:
        """End the node and its loop."""
        logging.getLogger("isthmus.node").removeHandler(self._log)
        self._runner.run(self._stack.aclose())
        self._runner.close()


class _Log(logging.Handler):
    """Keeps what the node says of failures that are its own: no caller hears of them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "in the node itself" in record.getMessage():
            self.said.append(record.getMessage())


async def _read_stream(session: Session, due: Deadline) -> None:
    async for _ in session.stream(b"3", due):
        pass


async def _bounded(work: Any) -> None:
    async with asyncio.timeout(5 * _SECONDS):
        await work


async def _check_quiet() -> None:
    """Look for tasks that a session left behind, once all usual deadlines are over."""
    await asyncio.sleep(3 * _SECONDS)
    if len(asyncio.all_tasks()) > 1:
        raise Wrong("a session left tasks behind")


@edge_service(inline=True)
def mirror(text: str = "", rows: np.ndarray | None = None, raw: bytes = b"") -> str | None:
    """Return the text."""
    return text


@edge_service
async def count(to: int) -> AsyncIterator[int]:
    """Count, but not far."""
    for number in range(min(to, 20)):
        yield number


def _caller_says() -> list[bytes]:
    """Return messages of a caller that makes calls, reads a stream, and leaves."""
    rows = np.arange(3)
    return [
        encode_frame(Kind.CALL, 1, call_body("mirror", text="x", rows=rows))
        + encode_frame(Kind.OPEN, 2, call_body("count", to=9)),
        encode_frame(Kind.CALL, 3, call_body("stall")) + encode_frame(Kind.CANCEL, 3),
        encode_frame(Kind.CREDIT, 2, encode_credit(500)) + encode_frame(Kind.CANCEL, 2),
    ]


def _node_says() -> list[bytes]:
    """Return messages of a node that answers two calls and a stream."""
    return [
        encode_frame(Kind.RESULT, 1, result_body("x")),
        encode_frame(Kind.ERROR, 2, encode_error(EndpointUnavailable())),
        encode_frame(Kind.CHUNK, 3, chunk_body(1)) + encode_frame(Kind.CHUNK, 3, chunk_body(2)),
        encode_frame(Kind.END, 3, end_body()),
    ]


def _in_parts() -> list[bytes]:
    """Return messages with bodies in parts: one whole, one given up, one too large."""
    body = call_body("mirror", text="y" * 100)
    return [
        encode_frame(Kind.PART, 1, body[:40]) + encode_frame(Kind.CANCEL, 9),
        encode_frame(Kind.PART, 1, body[40:60]) + encode_frame(Kind.CALL, 1, body[60:]),
        encode_frame(Kind.PART, 2, body) + encode_frame(Kind.PART, 3, bytes(900)),
        encode_frame(Kind.PART, 3, bytes(900)) + encode_frame(Kind.RESULT, 3, bytes(900)),
    ]
