"""The watchdog: a loop that stands still or a sick device makes the node blocked."""

import asyncio
import logging
import time

from orchestrator.core.deadline import Clock
from orchestrator.serving.node import Node
from orchestrator.serving.threads import in_daemon_thread

_log = logging.getLogger("isthmus.node")

TICK = 0.1
"""Seconds between two looks."""

_HEALTH_TICKS = 100  # of these between two questions to the runtime how its device is


class Watchdog:
    """Measures how late the loop is, and takes the node out while it is too late.

    Args:
        node: The node.
        limit: Seconds of lag above which the node counts as blocked.
        calm: Seconds without such a lag after which it counts as ready again.
        clock: Measures the lag; it may be read from any thread.
    """

    def __init__(
        self, node: Node, limit: float = 1.0, calm: float = 2.0, clock: Clock = time.monotonic
    ) -> None:
        self._node = node
        self._limit = limit
        self._calm = calm
        self._clock = clock
        self._beat = clock()
        self._worst = clock() - calm
        self._sick: str | None = None

    @property
    def lag(self) -> float:
        """Seconds by which the loop is late now; may be asked from any thread."""
        return max(self._clock() - self._beat - TICK, 0.0)

    @property
    def blocked(self) -> bool:
        """Whether the loop stands still, or did a moment ago; may be asked from any thread."""
        return self.lag > self._limit or self._clock() - self._worst < self._calm

    async def run(self) -> None:
        """Watch for ever."""
        asking = asyncio.create_task(self._ask_device())
        try:
            await self._watch_loop()
        finally:
            asking.cancel()

    async def _ask_device(self) -> None:
        while True:
            await asyncio.sleep(TICK * _HEALTH_TICKS)
            try:
                self._sick = await in_daemon_thread(self._node.runtime.health)
            except Exception as error:
                self._sick = f"its device cannot be asked: {type(error).__name__}"

    async def _watch_loop(self) -> None:
        self._beat = self._clock()
        while True:
            await asyncio.sleep(TICK)
            if self.lag > self._limit:
                self._worst = self._clock()
            self._beat = self._clock()
            well = not self.blocked and self._sick is None
            if self._node.state == "ready" and not well:
                _log.error("node %s: %s", self._node.name, self._sick or "its loop stood still")
                await self._node.become("blocked")
            elif self._node.state == "blocked" and well:
                await self._node.become("ready")
