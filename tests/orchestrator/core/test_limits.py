import asyncio
import contextlib

import pytest

from orchestrator.core.deadline import Deadline
from orchestrator.core.limits import Limit, Limits, Wheel
from orchestrator.testing import ManualClock


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


# A wheel of anything


def after(seconds: float) -> Deadline:
    return Deadline.after(seconds)


async def given_up_by(wheel: Wheel[str], ended: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len(ended) < count:
            await asyncio.sleep(0.005)


async def test_a_wheel_gives_up_whatever_waits_in_the_order_of_time() -> None:
    ended: list[str] = []
    wheel = Wheel(ended.append)
    for name, seconds in (("late", 0.08), ("past", -3.0), ("soon", 0.04), ("never", 60.0)):
        wheel.slot(after(seconds)).add(name)
    assert ended == []  # it is not done in the midst of asking
    await given_up_by(wheel, ended, 3)
    await asyncio.sleep(0.03)
    assert ended == ["past", "soon", "late"]


async def test_what_was_taken_out_in_time_is_not_given_up() -> None:
    ended: list[str] = []
    wheel = Wheel(ended.append)
    slot = wheel.slot(after(0.02))
    slot.update(("stays", "leaves"))
    slot.discard("leaves")
    await given_up_by(wheel, ended, 1)
    await asyncio.sleep(0.03)
    assert ended == ["stays"]
    slot.discard("stays")  # afterwards it does no harm


async def test_a_wheel_is_never_early() -> None:
    loop, late = asyncio.get_running_loop(), []
    due: dict[str, float] = {}
    wheel: Wheel[str] = Wheel(lambda name: late.append(loop.time() - due[name]))
    for index in range(200):
        seconds = index / 2000
        due[str(index)] = loop.time() + seconds
        wheel.slot(after(seconds)).add(str(index))
    async with asyncio.timeout(10):
        while len(late) < 200:
            await asyncio.sleep(0.005)
    assert min(late) > -0.001


async def test_what_is_given_up_may_put_something_in_again() -> None:
    ended: list[str] = []

    def give_up(name: str) -> None:
        ended.append(name)
        if len(ended) < 4:
            wheel.slot(after(0.0)).add(f"{name}!")

    wheel: Wheel[str] = Wheel(give_up)
    wheel.slot(after(0.0)).add("a")
    await given_up_by(wheel, ended, 4)
    assert ended == ["a", "a!", "a!!", "a!!!"]


async def test_what_is_given_up_may_take_its_neighbours_out() -> None:
    ended: list[str] = []

    def give_up(name: str) -> None:
        ended.append(name)
        slot.clear()

    wheel: Wheel[str] = Wheel(give_up)
    slot = wheel.slot(after(0.01))
    slot.update("abc")
    await given_up_by(wheel, ended, 1)
    await asyncio.sleep(0.03)
    assert len(ended) == 1


async def test_a_wheel_gives_futures_up_and_spares_those_that_are_done() -> None:
    loop = asyncio.get_running_loop()
    wheel: Wheel[asyncio.Future[str]] = Wheel(lambda future: future.cancel())
    slot = wheel.slot(after(0.01))
    answered, waiting = loop.create_future(), loop.create_future()
    slot.update((answered, waiting))
    answered.set_result("answer")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await answered == "answer"


async def test_deadlines_of_one_tick_share_a_slot_and_a_timer() -> None:
    wheel: Wheel[str] = Wheel(lambda name: None)
    clock = ManualClock()
    slots = [wheel.slot(Deadline.after(30.0, clock)) for _ in range(1000)]
    assert len({id(slot) for slot in slots}) <= 3  # but for ticks that pass meanwhile


async def test_the_clock_of_a_deadline_may_be_another_than_the_loops() -> None:
    ended: list[str] = []
    wheel = Wheel(ended.append)
    clock = ManualClock(5.0)
    deadline = Deadline.after(1.0, clock)
    clock.turn(2.0)
    wheel.slot(deadline).add("late by its own clock")
    await given_up_by(wheel, ended, 1)
    assert ended == ["late by its own clock"]
