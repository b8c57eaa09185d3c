"""The tasks of a session: one leads and reads, the others finish calls that had to wait.

The leader runs each call in place, so a call that never waits needs no task of its own. When
one waits, a follower takes the lead: the pattern is Leader/Followers (Schmidt et al., 2000).
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

_IDLE = 64
"""Followers that are kept for the next call that waits; more would only take memory."""


class Crew:
    """Does work one after the other, and side by side as soon as some of it waits.

    Args:
        work: Takes things up, called by the leader alone; says whether there may be more. It
            calls `waits` when what it has taken up has to wait, and returns when that is done.
            It asks `gives_way` after what may have cancelled its task without waiting.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._leader: asyncio.Task[None] | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Let the first task lead."""
        self._promote()

    def waits(self) -> asyncio.Task[None]:
        """Let another task lead, since this one has to wait; return this one."""
        task = asyncio.current_task()
        if task is None or task is not self._leader:
            raise RuntimeError("only the leader can give the lead away")
        self._promote()
        return task

    def gives_way(self) -> bool:
        """Let another task lead if work has cancelled this one; say whether it has."""
        if self._leader is None or not self._leader.cancelling():
            return False
        self._promote()
        return True

    async def aclose(self) -> None:
        """Cancel all tasks and wait for their end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _promote(self) -> None:
        self._leader = None
        while self._idle:
            turn = self._idle.pop()
            if not turn.done():
                turn.set_result(None)
                return
        task = asyncio.create_task(self._serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        me = asyncio.current_task()
        self._leader = me
        while True:
            try:
                more = await self._work()
            except BaseException as error:
                if self._leader is me:
                    self._end(error)
                    return
                raise
            if self._leader is me:
                if not more:
                    self._end(None)
                    return
                continue
            if me is None or me.cancelling() or len(self._idle) >= _IDLE:
                return
            turn = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            await turn
            self._leader = me

    def _end(self, error: BaseException | None) -> None:
        with suppress(asyncio.InvalidStateError):
            if error is None or isinstance(error, asyncio.CancelledError):
                self.over.set_result(None)
            else:
                self.over.set_exception(error)
