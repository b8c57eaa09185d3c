import asyncio
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.context import opened
from orchestrator.core.errors import InvalidInput, Overloaded, UsageError
from orchestrator.core.home import Home
from orchestrator.core.mapping import IN_FLIGHT
from orchestrator.decorators import edge_service

if TYPE_CHECKING:
    from tests.orchestrator.core.conftest import FakeCaller


@edge_service
def double(x: int) -> int:
    return 2 * x


@edge_service
async def adouble(x: int) -> int:
    return 2 * x


async def settle(rounds: int = 20) -> None:
    """Let everything that is ready on this loop run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class Gate:
    """Answers nothing until so many calls are in flight."""

    def __init__(self, caller: "FakeCaller", size: int) -> None:
        self._caller, self._size, self._open = caller, size, asyncio.Event()
        caller.answer = self.answer

    async def answer(self, call: Call) -> int:
        if self._caller.running >= self._size:
            self._open.set()
        await self._open.wait()
        return int(call.arguments["x"])


class FirstFails:
    """Fails the call of 0 once so many are in flight; never answers the others."""

    def __init__(self, caller: "FakeCaller", size: int) -> None:
        self._caller, self._size, self._full = caller, size, asyncio.Event()
        caller.answer = self.answer

    async def answer(self, call: Call) -> int:
        if self._caller.running >= self._size:
            self._full.set()
        await self._full.wait()
        if call.arguments["x"] == 0:
            raise Overloaded("no room")
        await asyncio.Event().wait()
        return 0


async def late_first(call: Call) -> int:
    """Answer the later inputs before the earlier ones."""
    await settle(30 - int(call.arguments["x"]))
    return int(call.arguments["x"])


def refuse_odd(call: Call) -> int:
    if call.arguments["x"] % 2:
        raise Overloaded("odd")
    return int(call.arguments["x"])


def counted(taken: list[int], numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        taken.append(number)
        yield number


def test_answers_come_in_the_order_of_their_inputs(caller: "FakeCaller") -> None:
    caller.answer = late_first
    assert list(double.map(range(30))) == list(range(30))
    assert list(adouble.sync.map(range(30))) == list(range(30))


async def test_asynchronous_answers_come_in_the_order_of_their_inputs(
    caller_here: "FakeCaller",
) -> None:
    caller_here.answer = late_first
    assert [answer async for answer in adouble.map(range(30))] == list(range(30))
    assert [answer async for answer in double.aio.map(range(30))] == list(range(30))


async def test_a_map_on_another_loop_is_bridged(caller: "FakeCaller") -> None:
    caller.answer = late_first
    assert [answer async for answer in adouble.map(range(30))] == list(range(30))


def test_64_calls_are_in_flight_and_never_more(caller: "FakeCaller") -> None:
    Gate(caller, IN_FLIGHT)
    assert list(double.map(range(200))) == list(range(200))
    assert caller.peak == IN_FLIGHT == 64


async def test_64_asynchronous_calls_are_in_flight_and_never_more(
    caller_here: "FakeCaller",
) -> None:
    Gate(caller_here, IN_FLIGHT)
    assert [answer async for answer in adouble.map(range(200))] == list(range(200))
    assert caller_here.peak == 64


def test_the_first_error_cancels_the_rest(caller: "FakeCaller") -> None:
    FirstFails(caller, 64)
    taken: list[int] = []
    with pytest.raises(Overloaded, match="no room"):
        list(double.map(counted(taken, itertools.count())))
    caller.home.block(settle(), "")
    assert len(taken) == 64
    assert (caller.running, caller.cancelled) == (0, 63)


async def test_the_first_asynchronous_error_cancels_the_rest_before_it_is_raised(
    caller_here: "FakeCaller",
) -> None:
    FirstFails(caller_here, 64)
    with pytest.raises(Overloaded, match="no room"):
        _ = [answer async for answer in adouble.map(itertools.count())]
    assert (caller_here.running, caller_here.cancelled) == (0, 63)


def test_an_error_does_not_overtake_the_answers_before_it(caller: "FakeCaller") -> None:
    caller.answer = refuse_odd
    answers = double.map([0, 2, 1, 4])
    assert [next(answers), next(answers)] == [0, 2]
    with pytest.raises(Overloaded):
        next(answers)
    assert list(answers) == []


def test_errors_stand_in_their_places_when_asked_for(caller: "FakeCaller") -> None:
    caller.answer = refuse_odd
    inputs: list[Any] = [0, 1, "two", 4]
    answers = list(double.map(inputs, return_errors=True))
    assert answers[0] == 0
    assert isinstance(answers[1], Overloaded)
    assert isinstance(answers[2], InvalidInput)
    assert answers[3] == 4
    assert len(caller.calls) == 3


async def test_asynchronous_errors_stand_in_their_places_when_asked_for(
    caller: "FakeCaller",
) -> None:
    caller.answer = refuse_odd
    inputs: list[Any] = [0, 1, "two", 4]
    answers = [answer async for answer in adouble.map(inputs, return_errors=True)]
    assert [type(answer) for answer in answers] == [int, Overloaded, InvalidInput, int]


def test_a_mistake_of_the_program_is_raised_even_when_errors_are_returned() -> None:
    with pytest.raises(UsageError, match="no orchestrator is open"):
        list(double.map([1], return_errors=True))


def test_an_error_of_the_input_itself_is_raised_as_it_is(caller: "FakeCaller") -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise KeyError("broken feed")

    with pytest.raises(KeyError, match="broken feed"):
        list(double.map(inputs(), return_errors=True))


async def test_nothing_in_is_nothing_out(caller: "FakeCaller") -> None:
    assert [answer async for answer in adouble.map([])] == []
    assert await asyncio.to_thread(lambda: list(double.map([]))) == []
    assert caller.calls == []


async def test_a_reader_who_leaves_cancels_the_rest(caller_here: "FakeCaller") -> None:
    Gate(caller_here, 64)
    answers = adouble.map(itertools.count())
    assert await anext(answers) == 0
    FirstFails(caller_here, 10**6)
    assert await anext(answers) == 1
    await answers.aclose()  # type: ignore[attr-defined]
    assert caller_here.running == 0


def test_a_plain_reader_who_leaves_cancels_the_rest(caller: "FakeCaller") -> None:
    Gate(caller, 64)
    for answer in double.map(itertools.count()):
        FirstFails(caller, 10**6)
        if answer == 1:
            break
    caller.home.block(settle(), "")
    assert caller.running == 0


async def test_a_plain_map_inside_a_running_loop_names_aio(caller: "FakeCaller") -> None:
    for answers in (double.map([1]), adouble.sync.map([1])):
        with pytest.raises(UsageError, match=r"a?double\.aio"):
            next(answers)
    assert caller.calls == []


async def test_a_map_keeps_the_orchestrator_it_was_started_in(caller: "FakeCaller") -> None:
    other = type(caller)(Home.here())
    with opened(other):
        assert [answer async for answer in adouble.map([1, 2])] == [1, 2]
    assert len(other.calls) == 2
    assert caller.calls == []
