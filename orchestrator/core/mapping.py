"""Ordered maps over a service: a window of calls in flight, answers in the order of inputs."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from orchestrator.core.call import Result
from orchestrator.core.errors import CallError
from orchestrator.core.request import Request

IN_FLIGHT = 64

Ask = Callable[[Any], Request]
"""Makes the request of one input."""


def map_blocking(ask: Ask, inputs: Iterable[Any], return_errors: bool) -> Iterator[Any]:
    """Yield the answers to inputs in order, from a thread without a running loop."""
    window: deque[tuple[Request | None, Future[Result[Any]]]] = deque()

    def take() -> Any:
        """Return the oldest answer."""
        request, future = window.popleft()
        try:
            return (request.caller.home.wait(future) if request else future.result()).value
        except CallError as error:
            if return_errors:
                return error
            raise

    try:
        for item in inputs:
            window.append(_submit(ask, item))
            while window and (len(window) >= IN_FLIGHT or window[0][1].done()):
                yield take()
        while window:
            yield take()
    finally:
        for _, future in window:
            future.cancel()


def _submit(ask: Ask, item: Any) -> tuple[Request | None, Future[Result[Any]]]:
    try:
        request = ask(item)
    except CallError as error:
        failed: Future[Result[Any]] = Future()
        failed.set_exception(error)
        return None, failed
    return request, request.submit()


async def map_async(ask: Ask, inputs: Iterable[Any], return_errors: bool) -> AsyncIterator[Any]:
    """Yield the answers to inputs in order, on any loop."""
    window: deque[asyncio.Task[Result[Any]]] = deque()

    async def take() -> Any:
        """Return the oldest answer."""
        try:
            return (await window.popleft()).value
        except CallError as error:
            if return_errors:
                return error
            raise

    async def start(item: Any) -> Result[Any]:
        """Call the service with one input."""
        return await ask(item).run()

    try:
        for item in inputs:
            window.append(asyncio.ensure_future(start(item)))
            await asyncio.sleep(0)  # lets the call start before the next input is asked for
            while window and (len(window) >= IN_FLIGHT or window[0].done()):
                yield await take()
        while window:
            yield await take()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)
