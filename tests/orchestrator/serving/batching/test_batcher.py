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

from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Row, Stop, Stopped
from orchestrator.core.running import Meter
from orchestrator.serving.batching.batcher import Batcher, BatchOptions
from orchestrator.serving.batching.costs import CostTable
from orchestrator.serving.batching.forward import Forward
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

    def length(self, row: Row) -> int:
        return 1

    def lengths(self) -> Sequence[int]:
        return (1,)

    def probe(self, count: int, length: int) -> Sequence[Row]:
        return rows(*range(count))

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
        self.gates: list[threading.Event] = []
        self.stopped = 0

    def hold(self) -> None:
        self.go.clear()

    def hold_next(self) -> threading.Event:
        """Hold the next run that begins until the event is set."""
        self.busy.clear()
        self.gates.append(threading.Event())
        return self.gates[-1]

    def run(self, batch: Batch, stop: Stop) -> Batch:
        self.batches.append(batch["x"][:, 0].tolist())
        gate = self.gates.pop(0) if self.gates else self.go
        stop.on_request(gate.set)
        self.busy.set()
        assert gate.wait(10)
        if stop.requested:
            self.stopped += 1
            raise Stopped
        if (batch["x"] < 0).any():
            raise ValueError("a negative number")
        return {"y": batch["x"][:, 0] * 10}


BATCHING = {"max_delay_ms", "shape_aware", "memory_aware"}


@asynccontextmanager
async def batcher(
    run: Callable[[Batch, Stop], Batch], size: int = 8, **options: Any
) -> AsyncIterator[Batcher]:
    forward = Forward("m", run, options.pop("processor", None) or Widths())
    kinds = {name: options.pop(name) for name in BATCHING & options.keys()}
    made = Batcher(forward, BatchOptions(max_batch_size=size, **kinds), **options)
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


async def test_cancelling_one_of_three_batch_mates_leaves_the_other_two_answered(
    turns: Turns,
) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        mates = [submitted(made, number) for number in (2, 3, 4)]
        await turns()
        gate = machine.hold_next()
        machine.go.set()
        await first
        await asyncio.to_thread(machine.busy.wait, 10)
        assert machine.batches[1:] == [[2, 3, 4]]
        mates[1].cancel()
        await turns()
        gate.set()
        assert numbers_of(await mates[0]) == [20]
        assert numbers_of(await mates[2]) == [40]
        assert mates[1].cancelled()
    assert (machine.stopped, len(machine.batches)) == (0, 2)


async def test_a_run_goes_on_while_one_of_its_callers_is_left(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run) as made:
        first = await hold(machine, made)
        mates = [submitted(made, number) for number in (2, 3, 4)]
        await turns()
        gate = machine.hold_next()
        machine.go.set()
        await first
        await asyncio.to_thread(machine.busy.wait, 10)
        mates[0].cancel()
        mates[2].cancel()
        await turns()
        gate.set()
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
    made = Batcher(Forward("m", machine.run, Widths()))
    first = await hold(machine, made)
    waiting = submitted(made, 2)
    await turns()
    await made.aclose()
    for caller in (first, waiting):
        with pytest.raises(ModelUnavailable, match="is being unloaded"):
            await caller
    assert machine.stopped == 1


async def test_who_comes_after_the_model_was_unloaded_is_told_so() -> None:
    made = Batcher(Forward("m", Machine().run, Widths()))
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
    made = Batcher(Forward("m", Machine().run, Picky()))
    bad = submitted(made, 13)
    async with asyncio.timeout(0.5):
        with pytest.raises(ValueError, match="unlucky"):
            await bad
        assert numbers_of(await made.submit(rows(1), Meter())) == [10]


async def test_a_model_that_raises_stop_iteration_fails_its_caller() -> None:
    def exhausted(batch: Batch, stop: Stop) -> Batch:
        return {"y": next(iter(()))}

    made = Batcher(Forward("m", exhausted, Widths()))
    work = submitted(made, 1)
    await asyncio.wait([work], timeout=0.5)
    assert work.done()


QUITTING_MODEL = """
import asyncio, sys
from orchestrator.core.running import Meter
from orchestrator.serving.batching.batcher import Batcher
from orchestrator.serving.batching.forward import Forward

class Numbers:
    def key(self, row): return None
    def length(self, row): return 1
    def collate(self, rows): return {}

async def main():
    try:
        async with asyncio.timeout(5):
            forward = Forward("m", lambda batch, stop: sys.exit(3), Numbers())
            await Batcher(forward).submit([{}], Meter())
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


class Padded(Widths):
    """Rows of any width share a batch, padded with zeros; the width is the length."""

    def key(self, row: Row) -> object:
        return None

    def length(self, row: Row) -> int:
        return len(row["x"])

    def collate(self, rows: Sequence[Row]) -> Batch:
        width = max(len(row["x"]) for row in rows)
        return {"x": np.stack([np.pad(row["x"], (0, width - len(row["x"]))) for row in rows])}


def law(rows: int, length: int) -> float:
    """What a run costs, in seconds: one for itself, and one for each position."""
    return 1.0 + rows * length


def table() -> CostTable:
    return CostTable({(rows, n): law(rows, n) for rows in (1, 4, 16) for n in (1, 8, 64)})


async def batches_of(machine: Machine, made: Batcher, *widths: int, **more: Any) -> list[list[int]]:
    """Let rows of these widths wait while the model is busy; return what ran together then."""
    first = await hold(machine, made)
    calls = [
        made.submit([row(number, width)], Meter(), **more)
        for number, width in enumerate(widths, start=2)
    ]
    together = asyncio.gather(first, *calls)
    for _ in range(5):
        await asyncio.sleep(0)
    machine.go.set()
    await together
    return machine.batches[1:]


async def test_rows_of_like_length_run_together_and_the_others_apart() -> None:
    machine = Machine()
    options: dict[str, Any] = {"processor": Padded(), "costs": table(), "clock": ManualClock()}
    async with batcher(machine.run, **options) as made:
        ran = await batches_of(machine, made, 1, 9, 1, 9, 1, 9)
    assert ran == [[2, 4, 6], [3, 5, 7]]


async def test_a_row_that_nothing_fits_runs_alone_and_in_its_turn() -> None:
    machine = Machine()
    options: dict[str, Any] = {"processor": Padded(), "costs": table(), "clock": ManualClock()}
    async with batcher(machine.run, **options) as made:
        ran = await batches_of(machine, made, 64, *[1] * 20)
    assert ran[0] == [2]
    assert sum(map(len, ran)) == 21


async def test_first_come_first_served_takes_no_heed_of_lengths() -> None:
    machine = Machine()
    options: dict[str, Any] = {"processor": Padded(), "costs": table(), "shape_aware": False}
    async with batcher(machine.run, size=3, **options) as made:
        ran = await batches_of(machine, made, 2, 64, 2, 64, 2, 64)
    assert ran == [[2, 3, 4], [5, 6, 7]]


async def test_a_batch_stops_growing_where_it_would_be_too_late_for_one_of_its_rows() -> None:
    machine, clock = Machine(), ManualClock()
    options: dict[str, Any] = {"processor": Padded(), "costs": table(), "clock": clock}
    async with batcher(machine.run, **options) as made:
        deadline = Deadline.after(law(2, 8) + 1, clock)
        ran = await batches_of(machine, made, *[8] * 4, deadline=deadline)
    assert list(map(len, ran)) == [2, 2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=40), st.integers(1, 5))
async def test_the_oldest_row_is_always_in_the_next_batch(widths: list[int], size: int) -> None:
    machine = Machine()
    async with batcher(machine.run, size=size, processor=Padded(), costs=table()) as made:
        ran = await batches_of(machine, made, *widths)
    left = list(range(2, len(widths) + 2))
    for batch in ran:
        assert left[0] in batch
        assert len(batch) <= size
        left = [number for number in left if number not in batch]
    assert left == []


async def test_every_so_often_a_larger_batch_is_tried() -> None:
    """A table that was wrong about them would never find out otherwise."""
    machine = Machine()
    apart = CostTable({(rows, 1): rows / 1000 for rows in (1, 4, 16)})  # together saves nothing
    async with batcher(machine.run, costs=apart, clock=ManualClock()) as made:
        ran = await batches_of(machine, made, *[1] * 64)
    assert {len(batch) for batch in ran} == {1, 2}


async def test_what_a_run_took_corrects_the_table() -> None:
    machine, clock, costs = Machine(), ManualClock(), table()

    def slow(batch: Batch, stop: Stop) -> Batch:
        clock.turn(2 * law(*batch["x"].shape))
        return machine.run(batch, stop)

    before = costs.cost(1, 8)
    async with batcher(slow, processor=Padded(), costs=costs, clock=clock) as made:
        for _ in range(20):
            await made.submit([row(1, 8)], Meter())
    assert costs.cost(1, 8) == pytest.approx(2 * before, rel=0.05)


async def test_a_model_that_may_wait_runs_as_soon_as_the_batch_is_full(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run, size=3, max_delay_ms=60_000) as made:
        work = [submitted(made, 1), submitted(made, 2)]
        await turns()
        assert (machine.batches, made.waiting) == ([], 2)
        work.append(submitted(made, 3))
        await asyncio.gather(*work)
    assert machine.batches == [[1, 2, 3]]


async def test_a_model_that_may_wait_does_so_no_longer_than_it_may() -> None:
    machine = Machine()
    async with batcher(machine.run, max_delay_ms=5) as made:
        assert numbers_of(await made.submit(rows(1), Meter())) == [10]


async def test_a_model_that_may_wait_does_not_wait_for_a_row_to_be_late() -> None:
    machine, clock = Machine(), ManualClock()
    options: dict[str, Any] = {
        "processor": Padded(),
        "costs": table(),
        "clock": clock,
        "max_delay_ms": 60_000,
    }
    async with batcher(machine.run, **options) as made:
        deadline = Deadline.after(law(1, 1), clock)
        assert numbers_of(await made.submit(rows(1), Meter(), deadline)) == [10]


async def test_a_settled_batch_is_laid_out_ahead_of_time(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run, size=8) as made:
        first = await hold(machine, made)
        work = [submitted(made, number) for number in range(20)]
        await turns()
        assert made.waiting == 12
        machine.go.set()
        await asyncio.gather(first, *work)
    assert list(map(len, machine.batches)) == [1, 8, 8, 4]


async def test_a_batch_that_may_still_grow_is_not_laid_out(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run, size=32) as made:
        first = await hold(machine, made)
        work = [submitted(made, number) for number in range(20)]
        await turns()
        assert made.waiting == 20
        work += [submitted(made, number) for number in range(20, 30)]
        await turns()
        machine.go.set()
        await asyncio.gather(first, *work)
    assert list(map(len, machine.batches)) == [1, 30]


async def test_who_leaves_a_batch_that_is_laid_out_is_not_computed(turns: Turns) -> None:
    machine = Machine()
    async with batcher(machine.run, size=8) as made:
        first = await hold(machine, made)
        work = [submitted(made, number) for number in range(16)]
        await turns()
        work[3].cancel()
        await turns()
        machine.go.set()
        await asyncio.gather(first, *work[:3], *work[4:])
    assert machine.batches[1] == [0, 1, 2, 4, 5, 6, 7]


class Workers:
    """A model that several threads run at once, each waiting until all are there."""

    def __init__(self, count: int) -> None:
        self.batches: list[list[int]] = []
        self.all_there = threading.Barrier(count, timeout=10)

    def run(self, batch: Batch, stop: Stop) -> Batch:
        self.batches.append(batch["x"][:, 0].tolist())
        self.all_there.wait()
        return {"y": batch["x"][:, 0] * 10}


async def test_idle_workers_share_what_waits() -> None:
    workers = Workers(2)
    async with batcher(workers.run, parallel=2) as made:
        answers = await made.submit(rows(1, 2, 3, 4), Meter())
    assert numbers_of(answers) == [10, 20, 30, 40]
    assert sorted(workers.batches) == [[1, 2], [3, 4]]


async def test_no_more_runs_overlap_than_may() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def run(batch: Batch, stop: Stop) -> Batch:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return {"y": batch["x"][:, 0] * 10}
        finally:
            with lock:
                running[0] -= 1

    async with batcher(run, size=2, parallel=3) as made:
        await asyncio.gather(*(made.submit(rows(*range(5)), Meter()) for _ in range(40)))
    assert 1 <= most[0] <= 3


class Small(Machine):
    """A model with memory for a few positions only."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def run(self, batch: Batch, stop: Stop) -> Batch:
        if batch["x"].size > self.room:
            self.batches.append(batch["x"][:, 0].tolist())
            raise MemoryError
        return super().run(batch, stop)


async def test_a_batch_without_memory_is_halved_until_it_fits_and_the_cap_is_remembered() -> None:
    machine = Small(room=3)
    async with batcher(machine.run, size=8) as made:
        answers = await made.submit(rows(*range(8)), Meter())
        assert numbers_of(answers) == [number * 10 for number in range(8)]
        assert list(map(len, machine.batches)) == [8, 4, 4, 2, 2, 2, 2]
        machine.batches.clear()
        await made.submit(rows(*range(8)), Meter())
    assert list(map(len, machine.batches)) == [2, 2, 2, 2]


async def test_a_cap_is_of_rows_times_length() -> None:
    machine = Small(room=16)
    async with batcher(machine.run, processor=Padded()) as made:
        await made.submit([row(number, 8) for number in range(4)], Meter())
        machine.batches.clear()
        await made.submit([row(number, 2) for number in range(8)], Meter())
    assert list(map(len, machine.batches)) == [8]


async def test_without_memory_awareness_the_cap_is_forgotten_and_all_are_answered() -> None:
    machine = Small(room=3)
    async with batcher(machine.run, size=4, memory_aware=False) as made:
        for _ in range(2):
            answers = await made.submit(rows(1, 2, 3, 4), Meter())
            assert numbers_of(answers) == [10, 20, 30, 40]
    assert list(map(len, machine.batches)) == [4, 2, 2] * 2


async def test_one_row_without_memory_fails_its_caller_alone(turns: Turns) -> None:
    machine = Small(room=10)
    async with batcher(machine.run, processor=Padded()) as made:
        first = await hold(machine, made)
        large = asyncio.create_task(made.submit([row(2, 11)], Meter()))
        small = submitted(made, 3)
        await turns()
        machine.go.set()
        assert numbers_of(await small) == [30]
        with pytest.raises(ModelUnavailable, match="no memory for one row of length 11"):
            await large
        await first
        assert numbers_of(await made.submit(rows(4), Meter())) == [40]


async def test_a_caller_who_failed_leaves_nothing_behind() -> None:
    machine = Machine()
    async with batcher(machine.run, size=2) as made:
        with pytest.raises(ValueError, match="a negative number"):
            await made.submit(rows(-1, *range(1, 10)), Meter())
        assert made.waiting == 0
        assert numbers_of(await made.submit(rows(5), Meter())) == [50]
    assert len(machine.batches) == 2


def checksum(row: np.ndarray) -> int:
    """A number that depends on every element of a row, and on their order; padding adds none."""
    return int((row * (np.arange(len(row)) + 1)).sum())


async def test_under_random_cancellation_no_answer_goes_to_the_wrong_caller() -> None:
    """2,000 calls of mixed lengths over three workers; every third one leaves at some time."""
    dice = random.Random(11)

    def run(batch: Batch, stop: Stop) -> Batch:
        return {"y": np.array([checksum(own) for own in batch["x"]])}

    async def call(made: Batcher) -> int:
        mine = [
            {"x": np.array([dice.randrange(1, 10**6) for _ in range(dice.choice([3, 4, 30]))])}
            for _ in range(dice.randint(1, 4))
        ]
        work = asyncio.create_task(made.submit(mine, Meter()))
        for _ in range(dice.randint(0, 40)):
            await asyncio.sleep(0)
        if dice.random() < 0.33:
            work.cancel()
        try:
            assert numbers_of(await work) == [checksum(own["x"]) for own in mine]
        except asyncio.CancelledError:
            return 0
        return 1

    options: dict[str, Any] = {"processor": Padded(), "costs": table(), "parallel": 3}
    async with batcher(run, size=16, **options) as made:
        answered = 0
        for _ in range(20):
            answered += sum(await asyncio.gather(*(call(made) for _ in range(100))))
        assert made.waiting == 0
    assert 1000 < answered < 2000
    assert made.batches < made.rows / 2  # they did share batches
