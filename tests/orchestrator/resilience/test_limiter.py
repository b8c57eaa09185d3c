import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.core.errors import Overloaded
from orchestrator.resilience.limiter import Limiter


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(40):
        await asyncio.sleep(0)


@asynccontextmanager
async def place(limiter: Limiter, *, nested: bool = False) -> AsyncIterator[None]:
    """Hold a place while the block runs."""
    if not limiter.enter_now(nested=nested):
        await limiter.enter()
    try:
        yield
    finally:
        limiter.leave()


class Visit:
    """One call: it wants a place, holds it until told to leave, and may be cancelled."""

    def __init__(self, limiter: Limiter, order: list["Visit"]) -> None:
        self.inside = False
        self._limiter = limiter
        self._order = order
        self._done = asyncio.Event()
        self.task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        async with place(self._limiter):
            self._order.append(self)
            self.inside = True
            try:
                await self._done.wait()
            finally:
                self.inside = False

    def leave(self) -> None:
        self._done.set()


async def test_so_many_get_in_and_the_rest_wait_in_the_order_of_arrival() -> None:
    limiter, order = Limiter(2, 10), list[Visit]()
    visits = [Visit(limiter, order) for _ in range(5)]
    await settled()
    assert order == visits[:2]
    for visit in visits:
        visit.leave()
    await asyncio.gather(*(visit.task for visit in visits))
    assert order == visits


async def test_one_too_many_is_refused_at_once_and_told_why() -> None:
    limiter, order = Limiter(1, 1), list[Visit]()
    visits = [Visit(limiter, order) for _ in range(3)]
    await settled()
    with pytest.raises(Overloaded, match="2 calls are in flight or waiting"):
        await visits[2].task
    assert limiter.count == limiter.capacity == 2
    for visit in visits[:2]:
        visit.leave()
        await visit.task


async def test_a_place_is_given_back_when_the_block_fails() -> None:
    limiter = Limiter(1, 0)
    for _ in range(3):
        with suppress(ZeroDivisionError):
            async with place(limiter):
                _ = 1 // 0
    assert limiter.count == 0


async def test_nobody_overtakes_those_who_wait() -> None:
    limiter, order = Limiter(1, 10), list[Visit]()
    first, second = Visit(limiter, order), Visit(limiter, order)
    await settled()
    first.leave()
    await first.task  # the place has gone to the second, which has not run yet
    third = Visit(limiter, order)
    await settled()
    assert order == [first, second]
    for visit in (second, third):
        visit.leave()
        await visit.task


async def test_one_who_leaves_the_queue_in_the_moment_of_its_turn_passes_the_place_on() -> None:
    limiter, order = Limiter(1, 10), list[Visit]()
    inside, lost, last = (Visit(limiter, order) for _ in range(3))
    await settled()
    inside.leave()
    await inside.task
    lost.task.cancel()  # its turn was set, and it has not run since
    await settled()
    assert lost.task.cancelled()
    assert last.inside
    last.leave()
    await last.task


async def test_one_cancelled_just_before_a_place_is_freed_ends_as_cancelled() -> None:
    limiter, order = Limiter(1, 10), list[Visit]()
    inside, waiting = Visit(limiter, order), Visit(limiter, order)
    await settled()
    inside.leave()
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task


class Visits(RuleBasedStateMachine):
    """Calls that come, leave and are cancelled, several in one turn of the loop if `racing`."""

    racing = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.limiter = Limiter(2, 3)
        self.visits: list[Visit] = []

    @rule(count=st.integers(1, 3))
    def come(self, count: int) -> None:
        async def come() -> None:
            self.visits += [Visit(self.limiter, []) for _ in range(count)]
            await settled()

        self.runner.run(come())

    @precondition(lambda self: self.visits)
    @rule(data=st.data(), cancelled=st.lists(st.booleans(), min_size=1, max_size=4))
    def go(self, data: st.DataObject, cancelled: list[bool]) -> None:
        goers = [(data.draw(st.sampled_from(self.visits)), how) for how in cancelled]

        async def go() -> None:
            for visit, is_cancelled in goers:
                if is_cancelled:
                    visit.task.cancel()
                else:
                    visit.leave()
                if not self.racing:
                    await settled()
            await settled()

        self.runner.run(go())

    @invariant()
    def keeps_its_bounds(self) -> None:
        inside = sum(visit.inside for visit in self.visits)
        pending = sum(not visit.task.done() for visit in self.visits)
        assert self.limiter.count == pending <= self.limiter.capacity
        assert inside == min(2, pending), "a place is free while somebody waits"

    @invariant()
    def refuses_and_cancels_in_its_own_words(self) -> None:
        for visit in self.visits:
            if visit.task.done() and not visit.task.cancelled():
                assert isinstance(visit.task.exception(), Overloaded | None)

    def teardown(self) -> None:
        async def leave() -> None:
            for visit in self.visits:
                visit.leave()
            await asyncio.gather(*(v.task for v in self.visits), return_exceptions=True)
            async with AsyncExitStack() as stack:  # both places are there, without waiting
                for _ in range(2):
                    await asyncio.wait_for(stack.enter_async_context(place(self.limiter)), 5)
            assert self.limiter.count == 0

        self.runner.run(leave())
        self.runner.close()


class RacingVisits(Visits):
    racing = True


NO_SHRINKING = settings(deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def test_no_place_is_lost_and_no_bound_passed_in_any_order_of_events() -> None:
    run_state_machine_as_test(Visits, settings=settings(deadline=None))


def test_no_place_is_lost_when_several_events_fall_into_one_turn_of_the_loop() -> None:
    run_state_machine_as_test(RacingVisits, settings=NO_SHRINKING)


async def test_a_nested_call_never_waits_for_those_that_wait_for_it() -> None:
    limiter = Limiter(in_flight=1, waiting=1)
    async with place(limiter):
        async with place(limiter, nested=True), place(limiter, nested=True):
            waiting = asyncio.create_task(limiter.enter())
            await asyncio.sleep(0)
            assert limiter.count == 4
        assert not waiting.done()  # what was let in above the limit gives its place to nobody
    await waiting
    limiter.leave()
    assert limiter.count == 0
