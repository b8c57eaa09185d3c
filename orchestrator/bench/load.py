"""Load: so many calls in flight all the time, or calls that come when they come."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: how long each call took, and all of them together, in seconds."""

    times: list[float]
    seconds: float

    @property
    def per_second(self) -> float:
        """Calls per second."""
        return len(self.times) / self.seconds


def percentile(values: list[float], part: float) -> float:
    """Return the value that such a part of them does not exceed; they need not be sorted."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


async def closed_loop(once: Once, in_flight: int, seconds: float) -> Load:
    """Keep so many calls in flight: each caller asks again as soon as it is answered."""
    times: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def caller() -> None:
        while (asked := time.perf_counter()) < end:
            await once()
            times.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as callers:
        for _ in range(in_flight):
            callers.create_task(caller())
    return Load(times, time.perf_counter() - began)


async def open_loop(once: Once, rate: float, seconds: float, dice: random.Random) -> Load:
    """Call at moments of a Poisson process, however long answers take.

    A call's time counts from when it is sent: the loop's timer, whose steps are a millisecond,
    would cover what is to be seen. A late answer delays no later call.
    """
    times: list[float] = []
    began = time.perf_counter()

    async def call() -> None:
        asked = time.perf_counter()
        await once()
        times.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as calls:
        due = began + dice.expovariate(rate)
        while due < began + seconds:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            calls.create_task(call())
            due += dice.expovariate(rate)
    return Load(times, time.perf_counter() - began)
