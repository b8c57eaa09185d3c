"""The limiter: a bounded number of calls at an endpoint, and a bounded queue before it."""

import asyncio
from collections import deque
from contextlib import suppress

from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import DeadlineExceeded, Overloaded


class Limiter:
    """Lets a number of calls in and a number wait; refuses the rest at once.

    Args:
        in_flight: The most calls at the endpoint.
        waiting: The most calls that wait for a place.
    """

    def __init__(self, in_flight: int = 128, waiting: int = 1024) -> None:
        self._limit = in_flight
        self._room = waiting
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def count(self) -> int:
        """Calls inside or waiting."""
        return self._inside + len(self._queue)

    @property
    def capacity(self) -> int:
        """The most calls inside or waiting."""
        return self._limit + self._room

    def enter_now(self, *, nested: bool = False) -> bool:
        """Take a place if there is one; say whether there was. Whoever enters must leave.

        Args:
            nested: Whether a call inside makes it, which holds its own place meanwhile: were
                this one to wait, all could wait for each other.
        """
        if nested or self._inside < self._limit:
            self._inside += 1
            return True
        return False

    async def enter(self, deadline: Deadline | None = None) -> None:
        """Take a place, in the order of arrival; whoever enters must leave.

        Raises:
            Overloaded: As many calls wait as may wait.
            DeadlineExceeded: There was no place in time.
        """
        if self.enter_now():
            return
        if len(self._queue) >= self._room:
            raise Overloaded(f"{self.count} calls are in flight or waiting, the limit")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(deadline.left() if deadline else None):
                await turn
        except (asyncio.CancelledError, TimeoutError) as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place was given in the moment of leaving
            else:
                with suppress(ValueError):  # passed over already by a place that became free
                    self._queue.remove(turn)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded from None
            raise

    def leave(self) -> None:
        """Give the place to the next in the queue, or free it."""
        while self._queue and self._inside <= self._limit:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)  # the place goes to the next, so the count stays
                return
        self._inside -= 1
