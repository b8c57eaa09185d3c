"""The probe: follows one node's reports, and notices when they stop."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, EndpointUnavailable
from orchestrator.core.report import NodeReport
from orchestrator.routing.endpoint import Endpoint

_log = logging.getLogger("isthmus.caller")

INTERVAL = 0.5
"""Seconds between two reports of a node."""

_SILENT_TURNS = 4  # turns of one interval without a report after which a node counts as gone
_PING_EVERY = 4  # reports between two measurements of the round trip
_RETRY_SECONDS = (0.2, 2.0)


class Probe:
    """Keeps one endpoint informed while `follow` runs.

    Args:
        endpoint: What to keep informed.
        source: Spreads reconnects, so that callers do not come back all at once.
        interval: Seconds between two reports.
        clock: Measures the round trip.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        source: random.Random,
        interval: float = INTERVAL,
        clock: Clock = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._source = source
        self._interval = interval
        self._clock = clock
        self.first_news = asyncio.Event()

    async def follow(self) -> None:
        """Follow the node for ever: reconnect whenever its reports end."""
        failures = 0
        while True:
            try:
                await self._ping()
                failures = 0
                await self._listen()
            except CallError as error:
                self._saw_down(str(error))
            except Exception as error:
                _log.exception("%s cannot be followed", self._endpoint.name)
                self._saw_down(f"it cannot be followed: {type(error).__name__}")
            else:
                self._saw_down("its reports ended")
            self.first_news.set()
            failures = min(failures + 1, 8)
            least, most = _RETRY_SECONDS
            await asyncio.sleep(
                min(least * 2 ** (failures - 1), most) * self._source.uniform(0.5, 1)
            )

    async def _listen(self) -> None:
        async with aclosing(self._endpoint.channel.watch(self._interval)) as reports:
            count = 0
            while report := await self._next(reports):
                self._endpoint.saw_report(report)
                self.first_news.set()
                count += 1
                if count % _PING_EVERY == 0:
                    await self._ping()

    async def _next(self, reports: AsyncIterator[NodeReport]) -> NodeReport | None:
        """Return the next report, or None at the end.

        Silence is counted in turns of this loop, not on the clock: if the caller's own loop
        stood still, that says nothing of the node.

        Raises:
            EndpointUnavailable: The node has been silent for too long.
        """
        coming = asyncio.ensure_future(anext(reports, None))
        try:
            for _ in range(_SILENT_TURNS):
                done, _ = await asyncio.wait({coming}, timeout=self._interval)
                if done:
                    return coming.result()
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        raise EndpointUnavailable(
            f"it has been silent for {_SILENT_TURNS * self._interval:.0f} s: it hangs or is cut off"
        )

    async def _ping(self) -> None:
        started = self._clock()
        report = await self._endpoint.channel.describe()
        self._endpoint.stats.saw_round_trip((self._clock() - started) * 1e3)
        self._endpoint.saw_report(report)
        self.first_news.set()

    def _saw_down(self, reason: str) -> None:
        if not self._endpoint.problem:
            _log.warning("%s takes no more calls: %s", self._endpoint.name, reason)
        self._endpoint.saw_down(reason)
