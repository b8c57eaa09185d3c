import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Row, Stop, Stopped
from orchestrator.core.running import Meter
from orchestrator.serving.batcher import Batcher
from orchestrator.testing import ManualClock

Turns = Callable[[], Awaitable[None]]


def row(number: int, width: int = 1) -> Row:
    return {"x": np.full(width, number, np.int64)}


def rows(*numbers: int, width: int = 1) -> list[Row]:
    return [row(number, width) for number in numbers]


def numbers_of(answers: Sequence[Row]) -> list[int]:
    return [int(answer["y"]) for answer in answers]


class Widths:
    """Rows share a batch if they are of one width."""

    def rows(self, inputs: Any) -> Sequence[Row]:
        return list(inputs)

    def key(self, row: Row) -> object:
        return len(row["x"])

    def collate(self, rows: Sequence[Row]) -> Batch:
        return {"x": np.stack([row["x"] for row in rows])}

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        return [{"y": answer} for answer in batch["y"][:count]]

    def result(self, rows: Sequence[Row]) -> Any:
        return rows

    def example(self) -> Any:
        return rows(0)


class Machine:
    """A model that multiplies by ten, and can be held in the middle of a run."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()
        self.stopped = 0

    def hold(self) -> None:
        self.go.clear()

    def run(self, batch: Batch, stop: Stop) -> Batch:
        self.batches.append(batch["x"][:, 0].tolist())
        stop.on_request(self.go.set)
        self.busy.set()
        assert self.go.wait(10)
        if stop.requested:
            self.stopped += 1
            raise Stopped
        if (batch["x"] < 0).any():
            raise ValueError("a negative number")
        return {"y": batch["x"][:, 0] * 10}


@asynccontextmanager
async def batcher(
    run: Callable[[Batch, Stop], Batch], size: int = 8, **options: Any
) -> AsyncIterator[Batcher]:
    made = Batcher("m", run, options.pop("processor", Widths()), size, **options)
    try:
        yield made
    finally:
        await made.aclose()


def submitted(made: Batcher, *numbers: int, width: int = 1) -> "asyncio.Task[list[Row]]":
    return asyncio.create_task(made.submit(rows(*numbers, width=width), Meter()))


async def hold(machine: Machine, made: Batcher) -> "asyncio.Task[list[Row]]":
    """Start a run and keep the model busy with it."""
    machine.hold()
    first = submitted(made, 1)
    await asyncio.to_thread(machine.busy.wait, 10)
    return first


async def test_an_idle_model_takes_a_row_at_once_on_a_clock_that_stands_still() -> None:
    machine = Machine()
    async with batcher(machine.run, clock=ManualClock()) as made:
        assert numbers_of(await made.submit(rows(4), Meter())) == [40]
        assert numbers_of(await made.submit(rows(5), Meter())) == [50]
    assert machine.batches == [[4], [5]]


async def test_what_came_during_a_run_shares_the_next_one(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        others = [submitted(made, number, number + 10) for number in (2, 3, 4)]
        await turns()
        assert made.waiting == 6
        machine.go.set()
        answers = await asyncio.gather(first, *others)
    assert list(map(numbers_of, answers)) == [[10], [20, 120], [30, 130], [40, 140]]
    assert machine.batches == [[1], [2, 12, 3, 13, 4, 14]]
    assert (made.batches, made.rows) == (2, 7)


async def test_more_rows_than_fit_are_answered_in_order() -> None:
    machine = Machine()
    async with batcher(machine.run, size=3) as made:
        answers = await made.submit(rows(*range(10)), Meter())
    assert numbers_of(answers) == [number * 10 for number in range(10)]
    assert max(map(len, machine.batches)) == 3


async def test_no_rows_are_answered_without_a_run() -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        assert await made.submit([], Meter()) == []
    assert machine.batches == []


async def test_a_caller_who_left_is_dropped_before_the_batch_is_built(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        leaver, stayer = submitted(made, 2), submitted(made, 3)
        await turns()
        leaver.cancel()
        await turns()
        machine.go.set()
        assert numbers_of(await stayer) == [30]
        assert numbers_of(await first) == [10]
    assert machine.batches == [[1], [3]]


async def test_a_run_goes_on_while_one_of_its_callers_is_left(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        mates = [submitted(made, number) for number in (2, 3, 4)]
        await turns()
        machine.busy.clear()
        machine.go.set()
        await first
        machine.hold()
        await asyncio.to_thread(machine.busy.wait, 10)
        mates[0].cancel()
        mates[2].cancel()
        await turns()
        machine.go.set()
        assert numbers_of(await mates[1]) == [30]
    assert machine.stopped == 0


async def test_a_run_whose_last_caller_has_left_is_stopped_and_the_next_one_starts(
    turns: Turns,
) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        second = submitted(made, 2)
        await turns()
        first.cancel()
        assert numbers_of(await second) == [20]  # the machine is let go by the stop alone
    assert machine.stopped == 1


async def test_one_callers_bad_row_fails_that_caller_alone(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        good, bad, fine = submitted(made, 2), submitted(made, 3, -1), submitted(made, 4)
        await turns()
        machine.go.set()
        assert numbers_of(await good) == [20]
        assert numbers_of(await fine) == [40]
        with pytest.raises(ValueError, match="a negative number"):
            await bad
        await first
        assert numbers_of(await made.submit(rows(5), Meter())) == [50]


async def test_only_rows_of_one_key_share_a_batch_and_none_is_passed_over_for_ever(
    turns: Turns,
) -> None:
    machine = Machine()
    async with batcher(machine.run, size=2) as made:
        first = await hold(machine, made)
        wide, narrow = submitted(made, 2, 3, 4, width=5), submitted(made, 5, 6, 7)
        await turns()
        machine.go.set()
        await asyncio.gather(first, wide, narrow)
    assert machine.batches == [[1], [2, 3], [4], [5, 6], [7]]


@pytest.mark.parametrize("answered", [0, 1, 3])
async def test_a_model_that_gives_another_number_of_answers_is_refused(answered: int) -> None:
    def forgetful(batch: Batch, stop: Stop) -> Batch:
        return {"y": np.zeros(answered)}

    async with batcher(forgetful) as made:
        with pytest.raises(ModelUnavailable, match=f"got 2 rows and answered {answered} of y"):
            await made.submit(rows(1, 2), Meter())


async def test_rows_never_go_to_the_wrong_caller() -> None:
    """A few thousand calls of random size and shape; every third one leaves at a random time."""
    machine, dice = Machine(), random.Random(7)

    async def call(made: Batcher, number: int) -> int:
        mine = [number * 100 + place for place in range(dice.randint(1, 5))]
        work = submitted(made, *mine, width=dice.choice([1, 1, 1, 2, 3]))
        for _ in range(dice.randint(0, 40)):
            await asyncio.sleep(0)
        if dice.random() < 0.33:
            work.cancel()
        try:
            assert numbers_of(await work) == [own * 10 for own in mine]
        except asyncio.CancelledError:
            return 0
        return 1

    async with batcher(machine.run) as made:
        answered = 0
        for start in range(0, 3000, 150):
            answered += sum(
                await asyncio.gather(*(call(made, start + number) for number in range(150)))
            )
        assert made.waiting == 0
    assert 1500 < answered < 3000
    assert made.batches < made.rows / 3  # they did share batches


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 5), min_size=1, max_size=4), min_size=1, max_size=8))
async def test_every_caller_gets_its_own_answer_or_its_own_failure(
    callers: list[list[int]],
) -> None:
    machine = Machine()
    async with batcher(machine.run, size=4) as made:
        work = [submitted(made, *own) for own in callers]
        answers = await asyncio.gather(*work, return_exceptions=True)
        for own, answer in zip(callers, answers, strict=True):
            if min(own) < 0:
                assert isinstance(answer, ValueError)
            else:
                assert not isinstance(answer, BaseException)
                assert numbers_of(answer) == [number * 10 for number in own]


async def test_callers_of_a_shared_run_pay_for_their_own_rows_only(turns: Turns) -> None:
    clock, machine = ManualClock(), Machine()

    def slow(batch: Batch, stop: Stop) -> Batch:
        clock.turn(1.0)
        return machine.run(batch, stop)

    small, large = Meter(), Meter()
    async with batcher(slow, clock=clock) as made:
        first = await hold(machine, made)
        work = [made.submit(rows(2), small), made.submit(rows(3, 4, 5), large)]
        both = asyncio.gather(*work)
        await turns()
        clock.turn(0.5)
        machine.go.set()
        await asyncio.gather(first, both)
    assert [small.queue_ms, large.queue_ms] == pytest.approx([500, 500])
    assert [small.shared_ms, large.shared_ms] == pytest.approx([750, 250])


async def test_who_waits_when_the_model_is_unloaded_is_told_so_and_the_run_is_stopped(
    turns: Turns,
) -> None:
    machine = Machine()
    made = Batcher("m", machine.run, Widths())
    first = await hold(machine, made)
    waiting = submitted(made, 2)
    await turns()
    await made.aclose()
    for caller in (first, waiting):
        with pytest.raises(ModelUnavailable, match="is being unloaded"):
            await caller
    assert machine.stopped == 1


async def test_who_comes_after_the_model_was_unloaded_is_told_so() -> None:
    made = Batcher("m", Machine().run, Widths())
    await made.aclose()
    with pytest.raises(ModelUnavailable):
        await made.submit(rows(1), Meter())


class Picky(Widths):
    def key(self, row: Row) -> object:
        if row["x"][0] == 13:
            raise ValueError("an unlucky row")
        return super().key(row)


async def test_a_row_that_has_no_key_fails_its_caller_alone() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    made = Batcher("m", Machine().run, Picky())
    bad = submitted(made, 13)
    async with asyncio.timeout(0.5):
        with pytest.raises(ValueError, match="unlucky"):
            await bad
        assert numbers_of(await made.submit(rows(1), Meter())) == [10]


async def test_a_model_that_raises_stop_iteration_fails_its_caller() -> None:
    def exhausted(batch: Batch, stop: Stop) -> Batch:
        return {"y": next(iter(()))}

    made = Batcher("m", exhausted, Widths())
    work = submitted(made, 1)
    await asyncio.wait([work], timeout=0.5)
    assert work.done()


QUITTING_MODEL = """
import asyncio, sys
from orchestrator.core.running import Meter
from orchestrator.serving.batcher import Batcher

class Numbers:
    def key(self, row): return None
    def collate(self, rows): return {}

async def main():
    try:
        async with asyncio.timeout(5):
            await Batcher("m", lambda batch, stop: sys.exit(3), Numbers()).submit([{}], Meter())
    except Exception as error:
        print("the loop lives:", type(error).__name__)

asyncio.run(main())
"""


def test_sys_exit_in_a_users_model_does_not_end_the_node() -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUITTING_MODEL], capture_output=True, text=True, check=False
    )
    assert "the loop lives" in done.stdout
    assert done.returncode == 0
