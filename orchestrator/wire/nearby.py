"""The link to a node of this machine: sessions over its own socket, the rest over gRPC."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, EndpointUnavailable
from orchestrator.core.report import NodeReport
from orchestrator.wire.link import Link
from orchestrator.wire.session import MessageStream
from orchestrator.wire.socketstream import SocketStream, dial, machine

_SILENT_SECONDS = 10.0
"""After so long without an answer a node is frozen: gRPC's pings would have found it by then."""


class NearbyLink:
    """Opens sessions on the socket that the node's last report names; use it on one loop only.

    Where there is no such socket, or it cannot be reached, sessions are opened as on any link.

    Args:
        link: The way to the node in plaintext, on this machine.
        clock: Tells how long the node has been silent.
    """

    def __init__(self, link: Link, clock: Clock = time.monotonic) -> None:
        self._link = link
        self._clock = clock
        self._heard = clock()
        self._given: SocketStream | None = None
        self._name = ""
        self._spare: SocketStream | None = None
        self._dialling = asyncio.Lock()

    async def opener(self, seconds: float) -> Callable[[], MessageStream]:
        """Return what opens the stream of a session; see `Link.opener`."""
        if self._name:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(seconds), self._dialling:
                    if self._spare is None or self._spare.lost:
                        self._spare = await dial(self._name)
                    return self._take
        return await self._link.opener(seconds)

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""
        try:
            report = await self._link.describe()
        except CallError:
            if self._given is not None and self._clock() - self._heard > _SILENT_SECONDS:
                self._given.cancel()
            raise
        self._hear(report)
        return report

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        reports = self._link.watch(interval)
        try:
            async for report in reports:
                self._hear(report)
                yield report
        finally:
            await reports.aclose()

    async def aclose(self) -> None:
        """Close the link; streams on it end."""
        if self._spare is not None:
            self._spare.cancel()
        await self._link.aclose()

    def _take(self) -> MessageStream:
        """Give the stream away; of those who wait for one together only one opens a session."""
        stream = self._given = self._spare
        self._spare = None
        if stream is None:
            raise EndpointUnavailable("the session was opened for another call")
        return stream

    def _hear(self, report: NodeReport) -> None:
        self._heard = self._clock()
        self._name = report.socket if report.machine == machine() else ""
