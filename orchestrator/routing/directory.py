"""The directory: the endpoints there are, each with the probe that keeps it informed."""

import asyncio
import random
import time
from dataclasses import dataclass

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import UsageError
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.probe import Probe


@dataclass(frozen=True, slots=True)
class _Entry:
    endpoint: Endpoint
    probe: Probe
    task: asyncio.Task[None]


class Directory:
    """Holds endpoints and follows their nodes; use it on one event loop only.

    Args:
        source: Spreads reconnects.
        clock: Measures round trips.
    """

    def __init__(self, source: random.Random, clock: Clock = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self.members = 0
        """Counts endpoints that have come and gone."""

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints."""
        return [entry.endpoint for entry in self._entries.values()]

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name, if it is still there."""
        entry = self._entries.get(name)
        return entry.endpoint if entry else None

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint and begin to follow its node; raises UsageError if its name is taken."""
        if endpoint.name in self._entries:
            raise UsageError(f"there is an endpoint named {endpoint.name!r} already")
        probe = Probe(endpoint, self._source, clock=self._clock)
        task = asyncio.create_task(probe.follow(), name=f"probe {endpoint.name}")
        self._entries[endpoint.name] = _Entry(endpoint, probe, task)
        self.members += 1

    async def remove(self, name: str) -> None:
        """Stop following a node and close the way to it."""
        entry = self._entries.pop(name)
        self.members += 1
        entry.task.cancel()
        await asyncio.gather(entry.task, return_exceptions=True)
        await entry.endpoint.aclose()

    async def first_news(self, seconds: float) -> None:
        """Wait until every node was reached or found missing, so many seconds at most."""
        waits = [entry.probe.first_news.wait() for entry in self._entries.values()]
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()

    async def aclose(self) -> None:
        """Remove all endpoints."""
        for name in list(self._entries):
            await self.remove(name)
