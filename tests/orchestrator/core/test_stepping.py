import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from types import coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.stepping import in_context, nobody

name: ContextVar[str] = ContextVar("name", default="nobody's")


async def stepped(
    work: Coroutine[Any, Any, Any],
    told: list[str] | None = None,
    context: Context | None = None,
) -> Any:
    """Run a coroutine in a context of its own, and note when it waits."""
    note: Callable[[], object] = nobody if told is None else lambda: told.append(name.get())
    return await in_context(work, context or copy_context(), note)


# Contexts


@pytest.mark.parametrize("waits", [0, 1, 3])
async def test_what_a_body_sets_is_seen_by_itself_alone(waits: int) -> None:
    async def body(mine: str) -> list[str]:
        seen = [name.get()]
        name.set(mine)
        for _ in range(waits):
            await asyncio.sleep(0)
            seen.append(name.get())
        return seen

    name.set("the awaiter's")
    for mine in ("first", "second"):
        assert await stepped(body(mine)) == ["the awaiter's", *[mine] * waits]
        assert name.get() == "the awaiter's"


async def test_without_it_the_awaiter_would_see_what_a_body_sets() -> None:
    async def body() -> None:
        name.set("the body's")

    await body()  # the positive control
    assert name.get() == "the body's"


async def test_what_a_body_sets_stays_in_its_context_and_a_token_can_be_given_back() -> None:
    async def body() -> None:
        token = name.set("for a while")
        await asyncio.sleep(0)
        name.reset(token)
        name.set("at last")

    context = copy_context()
    await stepped(body(), context=context)
    assert context[name] == "at last"


async def test_bodies_that_wait_side_by_side_do_not_see_each_other() -> None:
    async def body(mine: str) -> bool:
        name.set(mine)
        for _ in range(10):
            await asyncio.sleep(0)
            if name.get() != mine:
                return False
        return True

    assert all(await asyncio.gather(*(stepped(body(str(index))) for index in range(20))))


async def test_tasks_and_callbacks_of_a_body_are_in_its_context() -> None:
    seen: list[str] = []

    async def child() -> None:
        seen.append(name.get())

    async def body() -> None:
        name.set("the body's")
        asyncio.get_running_loop().call_soon(lambda: seen.append(name.get()))
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    await stepped(body())
    assert seen == ["the body's"] * 2


async def test_one_inside_the_other_each_has_its_own() -> None:
    async def inner() -> str:
        name.set("inner")
        await asyncio.sleep(0)
        return name.get()

    async def outer() -> tuple[str, str]:
        name.set("outer")
        return await stepped(inner()), name.get()

    assert await stepped(outer()) == ("inner", "outer")
    assert name.get() == "nobody's"


# Who is told


async def test_work_that_does_not_wait_tells_nobody() -> None:
    async def body() -> int:
        return 7

    told: list[str] = []
    assert await stepped(body(), told) == 7
    assert told == []


async def test_work_that_waits_says_so_once_and_outside_of_its_context() -> None:
    async def body() -> None:
        name.set("the body's")
        for _ in range(5):
            await asyncio.sleep(0)

    told: list[str] = []
    await stepped(body(), told)
    assert told == ["nobody's"]


async def test_work_that_awaits_what_is_there_does_not_wait() -> None:
    async def body() -> int:
        done = asyncio.get_running_loop().create_future()
        done.set_result(5)
        async with asyncio.Lock():
            number: int = await done
        return number

    told: list[str] = []
    assert await stepped(body(), told) == 5
    assert told == []


# The task


@pytest.mark.parametrize("waits", [0, 2])
async def test_the_task_is_that_of_the_awaiter(waits: int) -> None:
    async def body() -> Any:
        for _ in range(waits):
            await asyncio.sleep(0)
        return asyncio.current_task()

    assert await stepped(body()) is asyncio.current_task()


async def test_a_time_limit_inside_ends_the_work_and_leaves_no_cancellation() -> None:
    async def body() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "ended"
        return "not ended"

    assert await stepped(body()) == "ended"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_time_limit_around_it_reaches_the_work() -> None:
    left: list[str] = []

    async def body() -> None:
        name.set("the body's")
        try:
            await asyncio.Event().wait()
        finally:
            left.append(name.get())

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stepped(body())
    assert left == ["the body's"]


async def test_a_group_of_tasks_inside_ends_with_its_first_error() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError

    others: list[asyncio.Task[Any]] = []

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            others.extend(group.create_task(asyncio.Event().wait()) for _ in range(3))
            group.create_task(fail())

    async def body() -> int:
        with pytest.raises(ExceptionGroup) as caught:
            await grouped()
        assert caught.group_contains(KeyError)
        await asyncio.sleep(0)
        return sum(other.cancelled() for other in others)

    assert await stepped(body()) == 3


async def test_a_cancellation_reaches_the_work_which_may_take_its_time_to_end() -> None:
    left: list[str] = []

    async def body() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            left.append("left")

    task = asyncio.create_task(stepped(body()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == ["left"]


async def test_work_may_refuse_to_be_cancelled() -> None:
    async def body() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "went on"

    task = asyncio.create_task(stepped(body()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "went on"


# Errors


@pytest.mark.parametrize("waits", [0, 2])
@pytest.mark.parametrize("kind", [KeyError, asyncio.CancelledError, StopAsyncIteration])
async def test_an_error_comes_out_as_it_is(waits: int, kind: type[BaseException]) -> None:
    error = kind("x")

    async def body() -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        raise error

    with pytest.raises(kind) as caught:
        await stepped(body())
    assert caught.value is error


async def test_an_error_of_what_it_waits_for_is_raised_inside() -> None:
    waited = asyncio.get_running_loop().create_future()

    async def body() -> str:
        try:
            await waited
        except KeyError:
            return "caught"
        return "not raised"

    asyncio.get_running_loop().call_soon(waited.set_exception, KeyError())
    assert await stepped(body()) == "caught"


def test_closing_it_closes_the_work_in_its_context() -> None:
    left: list[str] = []

    @coroutine
    def pause() -> Generator[str, Any, None]:
        yield "pause"

    async def body() -> None:
        name.set("the body's")
        try:
            await pause()
        except GeneratorExit:
            left.append(name.get())
            raise

    running = stepped(body())
    assert running.send(None) == "pause"
    running.close()
    assert left == ["the body's"]


def test_work_that_goes_on_when_it_is_closed_is_told_as_always() -> None:
    @coroutine
    def stubborn() -> Generator[str, Any, None]:
        try:
            yield "pause"
        except GeneratorExit:
            yield "pause again"

    async def body() -> None:
        await stubborn()

    running = stepped(body())
    running.send(None)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        running.close()


async def test_an_async_generator_inside_is_closed_with_its_loop() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            closed.append("closed")

    async def body() -> int:
        async for number in numbers():
            return number
        return 0

    assert await stepped(body()) == 1
    gc.collect()
    for _ in range(3):
        await asyncio.sleep(0)
    assert closed == ["closed"]


# As if it were not there


steps = st.lists(st.sampled_from(["yield", "fail inside", "set"]), max_size=8)


@given(steps, st.sampled_from(["value", "error"]))
def test_work_goes_as_it_would_without_it(planned: list[str], end: str) -> None:
    async def body() -> list[str]:
        happened: list[str] = []
        for step in planned:
            if step == "yield":
                await asyncio.sleep(0)
            elif step == "set":
                name.set(f"{len(happened)}")
            else:
                try:
                    async with asyncio.timeout(0):
                        await asyncio.Event().wait()
                except TimeoutError:
                    happened.append("timeout")
            happened.append(f"{step} {name.get()}")
        if end == "error":
            raise KeyError(*happened)
        return happened

    async def run(work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except KeyError as error:
            return error.args

    expected = asyncio.run(run(body()))
    told: list[str] = []
    assert asyncio.run(run(stepped(body(), told))) == expected
    assert len(told) == bool({"yield", "fail inside"} & set(planned))
