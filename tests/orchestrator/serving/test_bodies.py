import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import ServiceFailed
from orchestrator.core.running import Running
from orchestrator.decorators import edge_service
from orchestrator.serving.bodies import Bodies
from orchestrator.testing import as_node

HERE: Any = Running(None)  # type: ignore[arg-type]
Turns = Callable[[], Awaitable[None]]
MakeCall = Callable[..., Call]
word: ContextVar[str] = ContextVar("word", default="none")


@pytest.fixture
async def bodies() -> Bodies:
    return Bodies(slots=1)


def run(made: Bodies, body: Callable[[], Any], inline: bool = False) -> "asyncio.Task[Any]":
    return asyncio.create_task(made.run(body, HERE, inline=inline))


async def arrived(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, 10)


async def test_a_blocking_body_leaves_the_loop_alone_and_an_inline_one_does_not(
    bodies: Bodies,
) -> None:
    async def coroutine() -> int:
        return threading.get_ident()

    loop = threading.get_ident()
    assert await run(bodies, threading.get_ident) != loop
    assert await run(bodies, threading.get_ident, inline=True) == loop
    assert await run(bodies, coroutine) == loop


async def test_blocking_bodies_beyond_the_slots_wait_for_their_turn(turns: Turns) -> None:
    made, together = Bodies(slots=3), 0
    most, lock = 0, threading.Lock()
    full = threading.Barrier(3, timeout=10)

    def body() -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        full.wait()  # passes only when three are inside at once
        with lock:
            together -= 1

    await asyncio.gather(*(run(made, body) for _ in range(12)))
    assert most == 3


async def test_a_thread_that_outlives_its_caller_keeps_its_slot_until_it_ends(
    bodies: Bodies, turns: Turns
) -> None:
    began, go = threading.Event(), threading.Event()

    def stubborn() -> None:
        began.set()
        go.wait(10)

    first = run(bodies, stubborn)
    await arrived(began)
    first.cancel()
    second = run(bodies, lambda: "second")
    await turns()
    assert first.cancelled()
    assert not second.done()
    go.set()
    assert await second == "second"


async def test_a_caller_who_leaves_the_queue_takes_no_slot_with_it(
    bodies: Bodies, turns: Turns
) -> None:
    go = threading.Event()
    first = run(bodies, lambda: go.wait(10))
    waiting = [run(bodies, lambda: None) for _ in range(5)]
    await turns()
    for task in waiting:
        task.cancel()
    go.set()
    await first
    assert await run(bodies, lambda: "free") == "free"


async def test_a_body_that_gives_its_slot_up_lets_another_one_run(bodies: Bodies) -> None:
    done = threading.Event()

    def waits_for_the_other() -> bool:
        with bodies.slots.given_up():
            return done.wait(10)

    first = run(bodies, waits_for_the_other)
    await run(bodies, done.set)
    assert await first


@pytest.mark.parametrize("kind", ["def", "async def", "inline", "generator"])
async def test_bodies_of_all_kinds_see_the_context_of_their_call(bodies: Bodies, kind: str) -> None:
    async def coroutine() -> str:
        return word.get()

    def generator() -> Iterator[str]:
        yield word.get()
        word.set("changed inside")
        yield word.get()

    word.set("from the call")
    if kind == "generator":
        seen = [item async for item in bodies.stream(generator, HERE)]
        assert seen == ["from the call", "changed inside"]
    else:
        plain: Any = coroutine if kind == "async def" else word.get
        assert await bodies.run(plain, HERE, inline=kind == "inline") == "from the call"
    assert word.get() == "from the call"


async def test_closing_a_stream_early_closes_the_generator(bodies: Bodies) -> None:
    closed = threading.Event()

    def generator() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    async with aclosing(bodies.stream(generator, HERE)) as items:
        assert await anext(items) == 1
    assert await arrived(closed)
    assert await run(bodies, lambda: "free") == "free"


async def test_a_stream_that_is_given_up_in_the_middle_of_a_step_closes_after_the_step(
    bodies: Bodies,
) -> None:
    began, go, closed = threading.Event(), threading.Event(), threading.Event()

    def generator() -> Iterator[int]:
        try:
            began.set()
            go.wait(10)
            yield 1
        finally:
            closed.set()

    items = bodies.stream(generator, HERE)
    step = asyncio.ensure_future(anext(items))
    await arrived(began)
    step.cancel()
    with suppress(asyncio.CancelledError):
        await step
    assert not closed.is_set()
    go.set()
    assert await arrived(closed)
    assert await run(bodies, lambda: "free") == "free"


async def test_a_generator_holds_no_slot_between_its_steps(bodies: Bodies) -> None:
    items = bodies.stream(lambda: iter([1, 2]), HERE)
    assert await anext(items) == 1
    assert await run(bodies, lambda: "free") == "free"
    assert [item async for item in items] == [2]


async def test_what_a_generator_raises_comes_out_and_its_slot_is_free(bodies: Bodies) -> None:
    def generator() -> Iterator[int]:
        yield 1
        raise KeyError("k")

    items = bodies.stream(generator, HERE)
    assert await anext(items) == 1
    with pytest.raises(KeyError):
        await anext(items)
    assert await run(bodies, lambda: "free") == "free"


async def test_a_blocking_body_that_runs_out_of_an_iterator_fails_at_once(bodies: Bodies) -> None:
    task = run(bodies, lambda: next(iter(())))
    await asyncio.wait([task], timeout=0.5)
    assert task.done()


@edge_service
def bottom(number: int) -> int:
    return number + 1


@edge_service
def middle(number: int) -> int:
    return bottom(number) + 1


@edge_service
def top(number: int) -> int:
    return middle(number) + 1


@edge_service
def stairs(number: int) -> Iterator[int]:
    for _ in range(3):
        number = top(number)
        yield number


async def test_nested_blocking_calls_never_stall_a_pool_of_one_slot(
    call_of: MakeCall, node_with: Any
) -> None:
    async with node_with(bottom, middle, top, stairs, slots=1) as node:
        calls = [node.handle(call_of(top, number=number)) for number in range(20)]
        async with asyncio.timeout(10):
            replies = await asyncio.gather(*calls)
            assert [reply.value for reply in replies] == [number + 3 for number in range(20)]
            chunks = (await node.handle(call_of(stairs, number=0))).value
            assert [chunk async for chunk in chunks] == [3, 6, 9]


held = threading.Event()
overlapped = threading.Event()


@edge_service
def holder() -> None:
    held.set()
    overlapped.wait(2)
    held.clear()


@edge_service
def checker() -> None:
    if held.is_set():
        overlapped.set()


@edge_service
async def bystander() -> None:
    await asyncio.to_thread(checker)


async def test_a_call_from_a_thread_of_an_async_body_frees_no_slot_of_others(
    call_of: MakeCall, node_with: Any
) -> None:
    overlapped.clear()
    async with node_with(holder, checker, bystander, slots=1) as node:
        first = asyncio.create_task(node.handle(call_of(holder)))
        await arrived(held)
        await node.handle(call_of(bystander))
        await first
    assert not overlapped.is_set()


@edge_service
def leaves() -> None:
    raise SystemExit(3)


@edge_service
async def leaves_too() -> None:
    raise SystemExit(3)


@edge_service(inline=True)
def leaves_inline() -> None:
    raise SystemExit(3)


@edge_service
def leaves_a_stream() -> Iterator[int]:
    yield 1
    raise SystemExit(3)


async def test_sys_exit_in_a_body_does_not_end_the_node(call_of: MakeCall, node_with: Any) -> None:
    quitters = (leaves, leaves_too, leaves_inline)
    async with node_with(*quitters, leaves_a_stream, bottom) as node:
        for quitter in quitters:
            with pytest.raises(ServiceFailed, match="SystemExit"):
                await node.handle(call_of(quitter))
        chunks = (await node.handle(call_of(leaves_a_stream))).value
        assert await anext(chunks) == 1
        with pytest.raises(ServiceFailed, match="SystemExit"):
            await anext(chunks)
        assert (await node.handle(call_of(bottom, number=1))).value == 2


def test_a_local_body_needs_no_slot() -> None:
    with as_node("edge"):
        assert bottom.local(1) == 2
