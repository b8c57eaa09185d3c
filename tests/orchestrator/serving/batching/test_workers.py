import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orchestrator.core.model import Row, Stop
from orchestrator.core.running import Meter
from orchestrator.serving.batching.waiting import Caller, Entry
from orchestrator.serving.batching.workers import Outcome, Run, Workers
from orchestrator.testing import ManualClock

Model = Callable[[Sequence[Row], Stop], Sequence[Row]]


def run_of(*numbers: int) -> Run:
    entries = []
    for number in numbers:
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        caller = Caller(future, Meter(), came=0.0, missing=1)
        row: Any = {"x": number}
        entries.append(Entry(caller, 0, row, None, number))
    return Run(entries)


class Office:
    """Workers over a model, and what they said of their runs."""

    def __init__(self, model: Model, count: int = 1, clock: Any = None) -> None:
        self.said: list[tuple[Run, Outcome]] = []
        self.told = asyncio.Event()
        forward: Any = model
        forward.name = "m"
        self.workers = Workers(forward, count, self.note, clock or ManualClock())

    def note(self, run: Run, outcome: Outcome) -> None:
        self.said.append((run, outcome))
        self.told.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.said) < count:
                self.told.clear()
                await self.told.wait()


class Gated:
    """A model whose runs begin and then wait until they are let go."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.threads: list[int] = []

    def __call__(self, rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        self.threads.append(threading.get_ident())
        self.began.release()
        assert self.go.acquire(timeout=10)
        return rows


async def test_a_run_comes_back_with_its_answers_and_how_long_it_took() -> None:
    clock = ManualClock(100.0)

    def model(rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        clock.turn(2.0)
        return rows

    office, run = Office(model, clock=clock), run_of(1, 2)
    office.workers.start(run)
    await office.until(1)
    assert office.said == [(run, [entry.row for entry in run.batch])]
    assert (run.since, run.seconds, run.length) == (100.0, 2.0, 2)
    assert office.workers.idle == 1


@pytest.mark.parametrize("kind", [ValueError, MemoryError, SystemExit])
async def test_a_run_that_fails_comes_back_with_its_error_and_the_worker_lives(
    kind: type[BaseException],
) -> None:
    def model(rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        raise kind

    office = Office(model)
    for number in (1, 2):
        office.workers.start(run_of(1))
        await office.until(number)
        assert isinstance(office.said[-1][1], kind)
        assert office.workers.idle == 1


async def test_the_first_worker_that_is_done_goes_straight_on_to_what_is_laid_out() -> None:
    model = Gated()
    office, runs = Office(model), [run_of(1), run_of(2)]
    office.workers.start(runs[0])
    assert await asyncio.to_thread(model.began.acquire, timeout=10)
    assert office.workers.wants_more
    office.workers.lay_out(runs[1])
    assert not office.workers.wants_more
    model.go.release()
    # The second run has begun before the event loop was told of the first.
    assert model.began.acquire(timeout=10)
    assert office.said == []
    model.go.release()
    await office.until(2)
    assert [run for run, _ in office.said] == runs
    assert len(set(model.threads)) == 1
    assert office.workers.idle == 1


async def test_what_is_laid_out_in_the_moment_a_worker_goes_to_rest_runs_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, posted = asyncio.get_running_loop(), threading.Event()
    post = loop.call_soon_threadsafe

    def watched(*arguments: Any) -> Any:
        try:
            return post(*arguments)
        finally:
            posted.set()

    monkeypatch.setattr(loop, "call_soon_threadsafe", watched)
    office, runs = Office(lambda rows, stop: rows), [run_of(1), run_of(2)]
    office.workers.start(runs[0])
    assert posted.wait(10)  # the worker has said that it rests, and the loop has not heard it yet
    office.workers.lay_out(runs[1])
    await office.until(2)
    assert [run for run, _ in office.said] == runs
    assert office.workers.idle == 1


async def test_rows_whose_callers_have_left_are_dropped_when_a_run_begins() -> None:
    seen: list[int] = []

    def model(rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        seen.append(len(rows))
        return rows

    office, some, none = Office(model), run_of(1, 2, 3), run_of(4)
    for entry in (some.batch[1], none.batch[0]):
        entry.caller.future.cancel()
    office.workers.start(some)
    await office.until(1)
    office.workers.start(none)
    await office.until(2)
    assert [entry.length for entry in some.batch] == [1, 3]
    assert (none.batch, office.said[1][1], seen) == ([], [], [2])


async def test_workers_run_side_by_side() -> None:
    all_there = threading.Barrier(3, timeout=10)

    def model(rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        all_there.wait()
        return rows

    office = Office(model, count=3)
    for number in (1, 2, 3):
        assert office.workers.idle == 4 - number
        office.workers.start(run_of(number))
    await office.until(3)
    assert office.workers.idle == 3


def test_a_loop_that_was_closed_meanwhile_does_no_harm() -> None:
    model = Gated()

    async def leave() -> None:
        Office(model).workers.start(run_of(1))
        assert model.began.acquire(timeout=10)

    asyncio.run(leave())
    model.go.release()
    (worker,) = [thread for thread in threading.enumerate() if thread.ident == model.threads[0]]
    worker.join(0.1)
    assert worker.is_alive()  # it rests, and has not died of an error
