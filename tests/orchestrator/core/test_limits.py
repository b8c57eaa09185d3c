import asyncio
import contextlib

import pytest

from orchestrator.core.deadline import Deadline
from orchestrator.core.limits import Limit, Limits


async def given_up_at_once(limit: Limit) -> None:
    """Wait for ever inside a limit that somebody gives up."""
    with limit:
        asyncio.get_running_loop().call_soon(limit.give_up)
        await asyncio.Event().wait()


async def test_a_block_that_is_given_up_ends_in_a_timeout() -> None:
    limit = Limit()
    with pytest.raises(TimeoutError):
        await given_up_at_once(limit)
    assert limit.expired
    await asyncio.sleep(0)  # no cancellation is left behind


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    limits = Limits()
    with limits.until(Deadline.after(0.02)) as limit:
        await asyncio.sleep(0)
    await asyncio.sleep(0.06)
    assert not limit.expired


async def test_a_wheel_gives_up_what_is_due_and_nothing_else() -> None:
    limits, ended = Limits(), []

    async def wait(seconds: float) -> None:
        try:
            with limits.until(Deadline.after(seconds)):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(seconds)

    tasks = [asyncio.create_task(wait(seconds)) for seconds in (60.0, 0.05, 0.0, -1.0, 0.02)]
    async with asyncio.timeout(10):
        while len(ended) < 4:
            await asyncio.sleep(0.01)
    assert ended[2:] == [0.02, 0.05]
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_a_cancellation_from_outside_passes_as_it_is() -> None:
    async def wait() -> None:
        with Limits().until(Deadline.after(60)):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def two_given_up_at_once(outer: Limit, inner: Limit) -> None:
    with outer:
        with contextlib.suppress(TimeoutError), inner:
            inner.give_up()
            outer.give_up()
            await asyncio.sleep(0)
        pytest.fail("the inner one swallowed it")


async def test_of_two_limits_given_up_at_once_the_outer_one_is_told() -> None:
    with pytest.raises(TimeoutError):
        await two_given_up_at_once(Limit(), Limit())
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def failing_when_given_up(limit: Limit) -> None:
    with limit:
        limit.give_up()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise KeyError from None


async def test_an_error_of_the_block_is_not_hidden() -> None:
    limit = Limit()
    with pytest.raises(KeyError):
        await failing_when_given_up(limit)
    assert limit.expired
