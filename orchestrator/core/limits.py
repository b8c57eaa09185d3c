"""Time limits of waits: one wheel of deadlines, instead of a timer of the loop for each call."""

import asyncio
import heapq
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from orchestrator.core.deadline import Deadline

W = TypeVar("W")

_TICK = 0.01
"""Seconds between two slots of a wheel: a limit is at most so late."""

_SLOTS = 256
"""Slots above which a wheel looks for empty ones."""


class Wheel(Generic[W]):
    """Gives up what waits when its time has come; use it on one event loop only.

    Deadlines of one tick share a slot, so that entering and leaving cost a set operation: the
    hashed timing wheel of Varghese and Lauck (1987).

    Args:
        give_up: Ends a wait whose time has come.
    """

    def __init__(self, give_up: Callable[[W], object]) -> None:
        self._give_up = give_up
        self._slots: dict[int, set[W]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._many = _SLOTS
        self._loop: asyncio.AbstractEventLoop | None = None

    def slot(self, deadline: Deadline) -> set[W]:
        """Return where to put what ends at a deadline, and to take it out when it has ended."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if len(self._slots) > self._many:
            self._sweep()
        left = deadline.at - deadline.clock()
        due = int((loop.time() + (left if left > 0 else 0.0)) / _TICK) + 1
        slot = self._slots.get(due)
        if slot is None:
            slot = self._slots[due] = set()
            heapq.heappush(self._order, due)
            if self._order[0] == due:
                self._wait(loop)
        return slot

    def stop(self) -> None:
        """Give nothing up any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()
        self._order.clear()

    def _sweep(self) -> None:
        """Forget the slots that all have left: whoever chooses deadlines may choose far ones."""
        self._slots = {due: slot for due, slot in self._slots.items() if slot}
        self._order = sorted(self._slots)
        self._many = 2 * len(self._slots) + _SLOTS

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._order[0] * _TICK, self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop may call a little early, by less than its clock can tell.
        now = (loop.time() + 1e-4) / _TICK
        while self._order and self._order[0] <= now:
            slot = self._slots.pop(heapq.heappop(self._order))
            while slot:
                self._give_up(slot.pop())
        self._timer = None
        if self._order:
            self._wait(loop)


class Limit:
    """Gives the task inside its block up once it is told to; use it as a context manager.

    It does what `asyncio.timeout` does, at a fifth of the cost.

    Raises:
        TimeoutError: At the end of a block that was given up.
    """

    __slots__ = ("_cancelling", "_slot", "_task", "expired")

    def __init__(self, slot: "set[Limit] | None" = None) -> None:
        self.expired = False
        self._slot = slot
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def give_up(self) -> None:
        """End the block, if it still runs."""
        if self._task is not None and not self.expired:
            self.expired = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a Limit is entered by a task")
        self._task, self._cancelling = task, task.cancelling()
        if self._slot is not None:
            self._slot.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._slot is not None:
            self._slot.discard(self)
        if not self.expired or task is None:
            return
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Limits:
    """Limits that end at deadlines; use it on one event loop only."""

    def __init__(self) -> None:
        self._wheel: Wheel[Limit] = Wheel(Limit.give_up)

    def until(self, deadline: Deadline) -> Limit:
        """Return a limit that ends at a deadline."""
        return Limit(self._wheel.slot(deadline))
