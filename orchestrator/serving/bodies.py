"""Running users' bodies: `async def` on the loop, `def` in a small pool of slots."""

import asyncio
import contextvars
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from orchestrator.core.deadline import Clock
from orchestrator.core.running import Running
from orchestrator.core.stepping import OnWait, in_context, nobody
from orchestrator.serving.threads import DaemonThreads

T = TypeVar("T")


class Slots:
    """Places for blocking bodies that run side by side.

    Args:
        count: How many run side by side.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = asyncio.Semaphore(count)
        self._loop = asyncio.get_running_loop()

    async def take(self) -> None:
        """Wait for a free slot."""
        await self._free.acquire()

    def free(self) -> None:
        """Free a slot, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._free.release)

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let another body run while this one's thread waits for something else."""
        self.free()
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(self._free.acquire(), self._loop).result()


class Bodies:
    """Runs bodies on a node's loop and in its slots.

    Args:
        slots: How many blocking bodies run side by side.
        clock: Tells how long a body waited for its slot.
    """

    def __init__(self, slots: int, clock: Clock = time.monotonic) -> None:
        self.slots = Slots(slots)
        self._clock = clock
        self._threads = DaemonThreads("isthmus-body")  # slots are scarce, threads are not

    async def run(
        self,
        body: Callable[[], Any],
        here: Running,
        *,
        inline: bool,
        context: contextvars.Context | None = None,
        on_wait: OnWait = nobody,
    ) -> Any:
        """Run a body to its end and return what it gives.

        Args:
            body: The body with its arguments; of an `async def` it makes the coroutine.
            here: Where it runs.
            inline: Whether a blocking body runs on the loop.
            context: The variables that it sees and sets; None copies those of the awaiter.
            on_wait: Is told when the body first leaves the loop to others.
        """
        if context is None:
            context = contextvars.copy_context()
        if inspect.iscoroutinefunction(body):
            return await in_context(body(), context, on_wait)
        if inline:
            return context.run(body)
        on_wait()
        future = await self._start(body, here, context)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            here.waits.give_up()  # the thread cannot be stopped, but what it waits for can
            raise
        finally:
            del future  # it holds the error, which holds this frame, which holds the arguments

    async def stream(self, body: Callable[[], Any], here: Running) -> AsyncGenerator[Any, None]:
        """Run a generator in the pool, one step after the other, and yield what it yields."""
        context = contextvars.copy_context()
        iterator = await asyncio.wrap_future(await self._start(body, here, context))
        step = None
        try:
            while True:
                step = await self._start(lambda: next(iterator, _END), here, context)
                if (value := await asyncio.wrap_future(step)) is _END:
                    return
                yield value
        finally:
            here.waits.give_up()
            self._threads.submit(_finish, iterator, step, context)

    async def _start(
        self, work: Callable[[], T], here: Running, context: contextvars.Context
    ) -> Future[T]:
        asked = self._clock()
        await self.slots.take()
        here.meter.queue_ms += (self._clock() - asked) * 1e3
        future: Future[T] = self._threads.submit(context.run, work)
        # The slot is free when the thread is, which may be after the caller has left.
        future.add_done_callback(lambda _: self.slots.free())
        return future


_END = object()


def _finish(iterator: Any, step: Future[Any] | None, context: contextvars.Context) -> None:
    """Close a generator once the step that may still run has ended."""
    if step:
        wait([step])
    if close := getattr(iterator, "close", None):
        context.run(close)
