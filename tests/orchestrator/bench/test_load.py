import asyncio
import random

import pytest

from orchestrator.bench.load import Load, closed_loop, open_loop, percentile


async def test_a_closed_loop_keeps_as_many_calls_in_flight_as_it_was_told() -> None:
    now, most = 0, 0

    async def once() -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.001)
        now -= 1

    load = await closed_loop(once, 5, 0.05)
    assert most == 5
    assert now == 0
    assert len(load.times) >= 5
    assert min(load.times) >= 0.001


async def test_an_open_loop_calls_whether_or_not_answers_come() -> None:
    gate, asked = asyncio.Event(), 0

    async def once() -> None:
        nonlocal asked
        asked += 1
        await gate.wait()

    running = asyncio.create_task(open_loop(once, 1000.0, 0.1, random.Random(1)))
    while asked < 20:
        await asyncio.sleep(0.001)
    gate.set()
    load = await running
    assert len(load.times) == asked


async def test_an_open_loop_is_a_poisson_process_with_the_wanted_rate() -> None:
    async def once() -> None:
        pass

    load = await open_loop(once, 2000.0, 0.5, random.Random(1))
    assert 850 < len(load.times) < 1150  # five standard deviations


async def test_a_call_that_fails_ends_the_load() -> None:
    async def once() -> None:
        raise ValueError("no")

    with pytest.raises(ExceptionGroup):
        await closed_loop(once, 2, 10.0)


def test_percentiles_and_rates_are_those_of_all_calls() -> None:
    times = [float(n) for n in range(100, 0, -1)]
    assert (percentile(times, 0.5), percentile(times, 0.99), percentile([3.0], 0.99)) == (
        51,
        100,
        3,
    )
    assert Load(times, 50.0).per_second == 2.0
