import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from orchestrator.core.errors import Cancelled, UsageError
from orchestrator.core.home import Home, refuse_running_loop
from orchestrator.core.running import Running, running, running_as
from orchestrator.testing import as_node


class Place:
    """A slot that notes when it is given up and taken again."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.is_free = threading.Event()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        self.notes.append("given up")
        self.is_free.set()
        try:
            yield
        finally:
            self.notes.append("taken again")


@pytest.fixture
def home() -> Iterator[Home]:
    private = Home()
    try:
        yield private
    finally:
        private.close()


async def thread_name() -> str:
    return threading.current_thread().name


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
    if count == 3:
        raise KeyError("three")


def test_a_plain_program_gets_a_loop_in_a_thread_of_its_own(home: Home) -> None:
    assert home.block(thread_name(), "") == "isthmus"
    assert not home.is_here()


async def test_a_home_may_be_the_loop_that_opened_it() -> None:
    home = Home.here()
    assert home.is_here()
    assert await home.run(thread_name()) == threading.current_thread().name
    home.close()
    assert home.loop.is_running()


async def test_work_from_another_loop_is_bridged(home: Home) -> None:
    assert await home.run(thread_name()) == "isthmus"


async def test_an_error_crosses_the_bridge_as_itself(home: Home) -> None:
    async def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        await home.run(fail())


async def test_giving_up_crosses_the_bridge(home: Home) -> None:
    started, ended = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(home.run(work()))
    assert await asyncio.to_thread(started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)


async def test_blocking_inside_a_running_loop_names_what_to_write_instead(home: Home) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(UsageError, match="an event loop is running here: use `await f"):
            home.block(thread_name(), "`await f.aio(...)`")
        gc.collect()
    assert warned == []


def test_where_no_loop_runs_blocking_is_allowed() -> None:
    refuse_running_loop("anything")


def test_a_body_that_waits_gives_its_place_up_and_takes_it_again(home: Home) -> None:
    with as_node("edge"):
        here = running()
    assert here
    place = Place()

    async def look() -> list[str]:
        assert await asyncio.to_thread(place.is_free.wait, 5)
        return list(place.notes)

    with running_as(Running(here.node, slot=place)):
        assert home.block(look(), "") == ["given up"]
    assert place.notes == ["given up", "taken again"]


def test_a_body_whose_work_fails_takes_its_place_again(home: Home) -> None:
    with as_node("edge"):
        here = running()
    assert here
    place = Place()

    async def fail() -> None:
        raise KeyError("gone")

    with running_as(Running(here.node, slot=place)), pytest.raises(KeyError):
        home.block(fail(), "")
    assert place.notes == ["given up", "taken again"]


def test_waiting_for_work_that_was_cancelled_ends(home: Home) -> None:
    future = home.submit(asyncio.sleep(3600))
    future.cancel()
    with pytest.raises(Cancelled, match="given up"):
        home.wait(future)


def test_an_asynchronous_iterator_is_read_in_a_plain_thread(home: Home) -> None:
    assert list(home.iterate(numbers(5), "")) == [0, 1, 2, 3, 4]
    assert list(home.iterate(numbers(0), "")) == []


def test_an_error_in_an_asynchronous_iterator_comes_after_its_values(home: Home) -> None:
    values = home.iterate(numbers(3), "")
    assert [next(values), next(values), next(values)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(values)
    assert list(values) == []


def test_closing_ends_the_thread_and_what_still_works_there() -> None:
    home, ended = Home(), threading.Event()
    started = threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = home.submit(work())
    assert started.wait(5)
    home.close()
    assert ended.is_set()
    assert future.cancelled()
    assert "isthmus" not in [thread.name for thread in threading.enumerate()]


def test_the_next_home_takes_the_thread_that_was_given_back() -> None:
    counts = set()
    for _ in range(5):
        home = Home()
        assert home.block(thread_name(), "") == "isthmus"
        home.close()
        counts.add(threading.active_count())
    assert len(counts) == 1


FORK = """
import os
from orchestrator.core.home import Home

async def nothing(): pass

home = Home()
if not (child := os.fork()):
    try:
        home.block(nothing(), "")
    except Exception as error:
        os.write(1, str(error).encode())
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_fork_of_a_process_with_an_open_home_is_told_so() -> None:
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "start processes with spawn" in done.stdout


def test_closing_ends_asynchronous_generators_that_were_left_half_read() -> None:
    home, ended = Home(), threading.Event()

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.set()

    kept = source()
    values = home.iterate(kept, "")
    assert next(values) == 1
    home.close()
    del values, kept
    gc.collect()
    assert ended.wait(5)


async def test_work_for_a_home_that_was_closed_is_a_usage_error() -> None:
    home = await asyncio.to_thread(Home)
    await asyncio.to_thread(home.close)
    work = thread_name()
    try:
        with pytest.raises(UsageError):
            await home.run(work)
    finally:
        work.close()


def test_many_threads_may_wait_at_once(home: Home) -> None:
    gate, answers = asyncio.Event(), []

    async def work(number: int) -> int:
        await gate.wait()
        return number

    def ask(number: int) -> None:
        answers.append(home.block(work(number), ""))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    home.loop.call_soon_threadsafe(gate.set)
    for thread in threads:
        thread.join(5)
    assert sorted(answers) == list(range(20))
