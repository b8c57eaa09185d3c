"""The iterators that stream services give: values as they come, and a Result after the end."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar

from orchestrator.core.call import Chunks, Result
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import UsageError
from orchestrator.core.home import Home

R_co = TypeVar("R_co", covariant=True)


class AsyncStream(AsyncIterator[R_co], Generic[R_co]):
    """The values of one streaming call; the call starts with the first one asked for.

    Args:
        home: The loop that owns the call.
        start: Starts the call; its result's value are the chunks.
        load: Turns a chunk into a value of the declared type.
        clock: Measures how long the stream took.
    """

    def __init__(
        self,
        home: Home,
        start: Callable[[], Awaitable[Result[Chunks]]],
        load: Callable[[Any], R_co],
        clock: Clock = time.monotonic,
    ) -> None:
        self._home = home
        self._start = start
        self._load = load
        self._begun: Result[Chunks] | None = None
        self._result: Result[None] | None = None
        self._over = False
        self._clock = clock
        self._since = 0.0

    @property
    def result(self) -> Result[None]:
        """How the call came about; known after the last value.

        Raises:
            UsageError: The stream has not ended, or did not end well.
        """
        if self._result is None:
            raise UsageError("a stream has its result after its last value was taken")
        return self._result

    async def __anext__(self) -> R_co:
        if self._over:
            raise StopAsyncIteration
        home = self._home
        try:
            chunk = await (self._next() if home.is_here() else home.run(self._next()))
        except BaseException:
            self._over = True
            raise
        if chunk is _END:
            self._over = True
            raise StopAsyncIteration
        return self._load(chunk)

    async def aclose(self) -> None:
        """End the call early; the node stops working on it."""
        self._over = True
        if self._begun:
            await self._home.run(self._begun.value.aclose())

    async def _next(self) -> Any:
        if self._begun is None:
            self._since = self._clock()
            self._begun = await self._start()
        chunk = await anext(self._begun.value, _END)
        if chunk is _END:
            ended: Result[Any] = self._begun
            total_ms = (self._clock() - self._since) * 1e3
            self._result = replace(
                ended, value=None, timings=ended.value.timings, total_ms=total_ms
            )
        return chunk

    def __del__(self) -> None:
        # gRPC never collects a stream that was left half read: it must be told.
        if self._begun and not self._over and self._home.loop.is_running():
            with suppress(UsageError):  # its orchestrator was closed, and the stream with it
                self._home.submit(self._begun.value.aclose())


class Stream(Iterator[R_co], Generic[R_co]):
    """The values of one streaming call, for a plain thread.

    Args:
        values: The asynchronous stream behind it.
        home: The loop that owns the call.
        instead: What to write inside a running loop.
    """

    def __init__(self, values: AsyncStream[R_co], home: Home, instead: str) -> None:
        self._values = values
        self._home = home
        self._items = home.iterate(values, instead)

    @property
    def result(self) -> Result[None]:
        """How the call came about; known after the last value."""
        return self._values.result

    def __next__(self) -> R_co:
        return next(self._items)

    def close(self) -> None:
        """End the call early; the node stops working on it."""
        self._home.block(self._values.aclose(), "`async for` and `await stream.aclose()`")


_END = object()
