"""A node that attached itself, as its caller sees it: the stream it dialled, and its reports."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Protocol

from orchestrator.core.errors import EndpointUnavailable, WireError
from orchestrator.core.report import NodeReport
from orchestrator.wire.connection import CONNECT_SECONDS
from orchestrator.wire.frames import encode_report_message, report_in
from orchestrator.wire.messages import decode_report, parse
from orchestrator.wire.session import MessageStream
from protos.isthmus.v1 import node_pb2 as pb

_ANSWER_SECONDS = 2.0
"""How long a node may take to answer a question for its report."""

_MOST_UNREAD = 32
"""Messages that may wait for the session: its reader never waits for anything else."""


class Dialled(Protocol):
    """What gRPC gives the server of a stream."""

    async def read(self) -> Any:
        """Return the next message; something that is no bytes at the end."""

    async def write(self, message: bytes, /) -> None:
        """Send a message; wait while the other side does not read."""


class _Stream:
    """One stream that a node has dialled: what is of a session goes on to it, reports do not.

    Args:
        dialled: The stream.
        heard: Takes number and report of a REPORT frame.
    """

    def __init__(self, dialled: Dialled, heard: Callable[[int, NodeReport], None]) -> None:
        self._dialled = dialled
        self._heard = heard
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._writing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._questions = 0
        self.ended = asyncio.Event()
        self.replaced = False

    async def read(self) -> bytes | None:
        """Return the next message of the session; None at the end."""
        return await self._messages.get()

    async def write(self, message: bytes) -> None:
        """Send a message of the session."""
        async with self._writing:  # gRPC takes one at a time
            try:
                await self._dialled.write(message)
            except Exception:  # gRPC's server raises exceptions that have no public name
                raise asyncio.InvalidStateError("the stream has ended") from None

    def cancel(self) -> bool:
        """End both directions."""
        self.ended.set()
        self._messages.put_nowait(None)
        return True

    def ask(self) -> int:
        """Ask for a report now; return the number that the answer will bear, or a higher one."""
        self._questions += 1
        self._wanted.set()
        return self._questions

    async def run(self) -> None:
        """Read and ask until the stream ends.

        Raises:
            WireError: The node sends what makes no sense.
        """
        tasks = [asyncio.create_task(work) for work in (self._read(), self._ask())]
        ended = asyncio.create_task(self.ended.wait())
        try:
            await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                await tasks[0]
        finally:
            self.cancel()
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)

    async def _read(self) -> None:
        while isinstance(message := await self._dialled.read(), bytes):
            if report := report_in(message):
                number, body = report
                self._heard(number, decode_report(parse(pb.NodeReport, body)))
            elif self._messages.qsize() < _MOST_UNREAD:
                self._messages.put_nowait(message)
            else:
                raise WireError("the node sends what nobody asked for")

    async def _ask(self) -> None:
        # In a task of its own: a write that a question's time limit cut would leave gRPC with a
        # message that is neither sent nor given up.
        while await self._wanted.wait():
            self._wanted.clear()
            with suppress(asyncio.InvalidStateError):
                await self.write(encode_report_message(self._questions))


class AttachedNode:
    """The link to one node that dials its caller; use it on one event loop only.

    Args:
        name: What the caller's settings call it.
        place: Where it would attach, for errors.

    Attributes:
        report: Its last report; None while it is not attached.
    """

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self._place = place
        self._stream: _Stream | None = None
        self.report: NodeReport | None = None
        self._answers: dict[asyncio.Future[NodeReport], int] = {}
        self._news = asyncio.Event()

    @property
    def attached(self) -> bool:
        """Whether it is there now."""
        return self._stream is not None and not self._stream.ended.is_set()

    async def serve(self, dialled: Dialled, report: NodeReport) -> bool:
        """Use a stream until it ends; return whether a newer one has taken its place.

        The newest stream wins: a half-dead connection must not lock its own node out.

        Args:
            dialled: The stream of a node that has proved to be this one.
            report: Its first report.

        Raises:
            WireError: The node sends what makes no sense.
        """
        stream = _Stream(dialled, lambda *said: self._hear(stream, *said))
        if older := self._stream:
            older.replaced = True
            older.cancel()
            self._lose()
        self._stream = stream
        self._hear(stream, 0, report)
        try:
            await stream.run()
        finally:
            if self._stream is stream:
                self._lose()
        return stream.replaced

    async def opener(self, seconds: float) -> Callable[[], MessageStream]:
        """Return what gives the stream for a session; see `Link.opener`."""
        stream = self._there()
        return lambda: stream

    async def describe(self) -> NodeReport:
        """Ask the node how it is; wait a moment for one that has not attached yet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                while not self.attached:
                    await self._news.wait()
        stream = self._there()
        answer: asyncio.Future[NodeReport] = asyncio.get_running_loop().create_future()
        self._answers[answer] = stream.ask()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise EndpointUnavailable(f"{self.name} is attached and does not answer") from None
        finally:
            del self._answers[answer]

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the reports, as often as the node sends them."""
        stream, seen = self._there(), None
        while self._stream is stream:
            if self.report is not None and self.report is not seen:
                seen = self.report
                yield seen
            else:
                await self._news.wait()

    async def aclose(self) -> None:
        """End the stream, if there is one; the node is free to attach again."""
        if self._stream:
            self._stream.cancel()

    def _there(self) -> _Stream:
        if self._stream is None or not self.attached:
            raise EndpointUnavailable(
                f"{self.name} is not attached to {self._place}: is it running with --attach, and "
                "do the settings name the identity in its certificate?"
            )
        return self._stream

    def _hear(self, stream: _Stream, number: int, report: NodeReport) -> None:
        if stream is not self._stream:
            return  # an older one that a newer has replaced
        self.report = report
        for answer, asked in self._answers.items():
            if asked <= number and not answer.done():
                answer.set_result(report)
        self._tell()

    def _lose(self) -> None:
        self._stream = self.report = None
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(EndpointUnavailable(f"{self.name} went away"))
        self._tell()

    def _tell(self) -> None:
        """Wake whoever waits for news."""
        self._news.set()
        self._news = asyncio.Event()
