"""The event loop that owns an orchestrator's or a node's I/O, and the bridges to it.

All gRPC of a process belongs on one loop. A Home is either the loop that opened it, or a
private one in a thread of its own; callers on other loops and in other threads are bridged.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext
from typing import Any, TypeVar, cast

from orchestrator.core.errors import Cancelled, UsageError
from orchestrator.core.running import running

T = TypeVar("T")


class Home:
    """An event loop, and how to reach it from elsewhere.

    Args:
        loop: The loop; None starts a private one in a thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._thread: threading.Thread | None = None
        self.loop = loop or self._start_thread()

    @classmethod
    def here(cls) -> "Home":
        """Return a home on the running loop."""
        return cls(asyncio.get_running_loop())

    def is_here(self) -> bool:
        """Say whether the code runs on this loop now."""
        return _running_loop() is self.loop

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work on the loop from another thread; raises UsageError if it is closed."""
        if self.loop.is_closed():
            work.close()
            raise UsageError("the orchestrator was closed: call inside its `with` block")
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
        """Stop the private loop and its thread, if there is one."""
        if self._thread is None:
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _start_thread(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve, args=(loop,), name="isthmus", daemon=True
        )
        self._thread.start()
        return loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())


def refuse_running_loop(instead: str) -> None:
    """Raise UsageError if a loop runs in this thread, since waiting would stop it.

    Args:
        instead: What the user should write there.
    """
    if _running_loop() is not None:
        raise UsageError(f"this call blocks, and an event loop is running here: use {instead}")


_END = object()


async def _next(source: AsyncIterator[T]) -> T | object:
    return await anext(source, _END)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
