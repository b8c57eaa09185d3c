"""The event loop that owns an orchestrator's or a node's I/O, and the bridges to it.

All gRPC of a process belongs on one loop. A Home is either the loop that opened it, or a
private one in a thread of its own; callers on other loops and in other threads are bridged.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext
from typing import Any, ClassVar, TypeVar, cast

from orchestrator.core.errors import Cancelled, UsageError
from orchestrator.core.running import running

T = TypeVar("T")


class Home:
    """An event loop, and how to reach it from elsewhere.

    Args:
        loop: The loop; None starts a private one in a thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._thread = None if loop else _Thread.taken()
        self._closed = False
        self._process = os.getpid()
        self.loop = loop or cast(_Thread, self._thread).loop

    @classmethod
    def here(cls) -> "Home":
        """Return a home on the running loop."""
        return cls(asyncio.get_running_loop())

    def is_here(self) -> bool:
        """Say whether the code runs on this loop now."""
        return asyncio._get_running_loop() is self.loop

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work on the loop from another thread; raises UsageError if it is closed."""
        if self._closed or self.loop.is_closed():
            work.close()
            raise UsageError("the orchestrator was closed: call inside its `with` block")
        if os.getpid() != self._process:
            work.close()
            raise UsageError(
                "this process was forked from the one that opened the orchestrator, and forks "
                "inherit no threads: open one here, and start processes with spawn"
            )
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def block(self, work: Coroutine[Any, Any, T], instead: str) -> T:
        """Run work on the loop and wait for it, from a thread without a running loop.

        Args:
            work: What to run.
            instead: What the user should write inside a running loop.

        Raises:
            UsageError: A loop runs in this thread: waiting would stop it.
        """
        try:
            refuse_running_loop(instead)
        except UsageError:
            work.close()
            raise
        return self.wait(self.submit(work))

    def wait(self, future: Future[T]) -> T:
        """Wait in a thread for work started by `submit`; a body gives up its slot meanwhile."""
        here = running()
        try:
            with here.waiting(future) if here else nullcontext():
                return future.result()
        except CancelledError:
            raise Cancelled(
                "the call was given up: its caller left, or its orchestrator closed"
            ) from None
        except BaseException:
            future.cancel()
            raise

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the loop and await it, from any loop."""
        if self.is_here():
            return await work
        return await asyncio.wrap_future(self.submit(work))

    def iterate(self, source: AsyncIterator[T], instead: str) -> Iterator[T]:
        """Yield what an asynchronous iterator on the loop gives, in a plain thread."""
        while (item := self.block(_next(source), instead)) is not _END:
            yield cast(T, item)

    def close(self) -> None:
        """Give the private loop back, with nothing left on it, if there is one."""
        if self._thread is None or self._closed:
            return
        self._closed = True
        self._thread.give_back()


class _Thread:
    """A thread that runs a loop, for one home after the other.

    The loop is never closed: gRPC's poller may have words for a loop it has served at any
    later time.
    """

    _idle: ClassVar[list["_Thread"]] = []

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._serve, name="isthmus", daemon=True)
        self._thread.start()

    @classmethod
    def taken(cls) -> "_Thread":
        """Return one that was given back, or a new one."""
        while cls._idle:
            thread = cls._idle.pop()
            if thread._process == os.getpid():  # a fork inherits no threads
                thread._thread.name = "isthmus"
                return thread
        return cls()

    def give_back(self) -> None:
        """End everything that still runs on the loop, and keep it for the next home."""
        asyncio.run_coroutine_threadsafe(self._clear(), self.loop).result()
        self._thread.name = "isthmus-idle"
        self._idle.append(self)

    async def _clear(self) -> None:
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


def refuse_running_loop(instead: str) -> None:
    """Raise UsageError if a loop runs in this thread, since waiting would stop it.

    Args:
        instead: What the user should write there.
    """
    if asyncio._get_running_loop() is not None:
        raise UsageError(f"this call blocks, and an event loop is running here: use {instead}")


_END = object()


async def _next(source: AsyncIterator[T]) -> T | object:
    return await anext(source, _END)
