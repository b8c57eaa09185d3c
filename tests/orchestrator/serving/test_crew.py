import asyncio
import gc
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from orchestrator.serving.crew import Crew

Turns = Callable[..., Awaitable[None]]


class Errands:
    """Work for a crew: a queue of errands, some of which wait; it notes who does what.

    Attributes:
        done: What was done, with the task that did it.
        leaders: How many tasks took errands up at one moment, at most.
        held: Errands that wait, by name.
        taken: Errands that were taken up.
    """

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.leaders = self.most_leaders = 0
        self.held: dict[str, asyncio.Future[None]] = {}
        self.taken: list[str] = []
        self.tasks: set[Any] = set()
        self._queue: deque[Any] = deque()
        self._news = asyncio.Event()
        self.crew = Crew(self._work)

    def put(self, *errands: Any) -> None:
        self._queue.extend(errands)
        self._news.set()

    async def _work(self) -> bool:
        self.leaders += 1
        self.most_leaders = max(self.most_leaders, self.leaders)
        try:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            errand = self._queue.popleft()
            if errand is None:
                return False
            if isinstance(errand, BaseException):
                raise errand
        finally:
            self.leaders -= 1
        await self._do(errand)
        return True

    async def _do(self, errand: str) -> None:
        task = asyncio.current_task()
        self.tasks.add(task)
        self.taken.append(errand)
        if errand.startswith("wait"):
            self.held[errand] = asyncio.get_running_loop().create_future()
            assert self.crew.waits() is task
            await self.held[errand]
        if errand.startswith("fail late"):
            self.crew.waits()
            await asyncio.sleep(0)
            raise KeyError(errand)
        self.done.append((errand, task))

    @property
    def names(self) -> list[str]:
        return [errand for errand, _ in self.done]


@pytest.fixture
async def errands() -> AsyncIterator[Errands]:
    made = Errands()
    made.crew.start()
    yield made
    await made.crew.aclose()


async def test_work_that_never_waits_is_done_by_one_task(errands: Errands, turns: Turns) -> None:
    errands.put(*map(str, range(100)))
    await turns(200)
    assert errands.names == [str(number) for number in range(100)]
    assert len(errands.tasks) == 1


async def test_work_that_waits_holds_nothing_up(errands: Errands, turns: Turns) -> None:
    errands.put("wait a", "b", "wait c", "d")
    await turns()
    assert errands.names == ["b", "d"]
    errands.held["wait c"].set_result(None)
    await turns()
    errands.held["wait a"].set_result(None)
    await turns()
    assert errands.names == ["b", "d", "wait c", "wait a"]
    assert len(errands.tasks) == 3  # one for each that waits, and one that leads
    errands.put("e")
    await turns()
    assert errands.names[-1] == "e"


async def test_the_next_one_leads_before_anything_else_happens(errands: Errands) -> None:
    errands.put("wait a")
    while "wait a" not in errands.held:
        await asyncio.sleep(0)
    errands.put("b")
    for _ in range(3):
        await asyncio.sleep(0)
    assert errands.names == ["b"]


async def test_followers_are_used_again(errands: Errands, turns: Turns) -> None:
    for number in range(50):
        errands.put(f"wait {number}")
        await turns(5)
        errands.held[f"wait {number}"].set_result(None)
        await turns(5)
    assert len(errands.names) == 50
    assert len(errands.tasks) == 2


async def test_more_followers_than_a_few_dozen_are_not_kept(errands: Errands, turns: Turns) -> None:
    before = len(asyncio.all_tasks())
    errands.put(*(f"wait {number}" for number in range(500)))
    await turns(2000)
    assert len(asyncio.all_tasks()) - before == 500
    for held in errands.held.values():
        held.set_result(None)
    await turns()
    assert len(errands.names) == 500
    assert 1 <= len(asyncio.all_tasks()) - before <= 100
    errands.put("after")
    await turns()
    assert errands.names[-1] == "after"


async def test_one_who_was_cancelled_ends_and_is_not_used_again(
    errands: Errands, turns: Turns
) -> None:
    errands.put("wait a", "b")
    await turns()
    (waiting,) = errands.tasks - {task for _, task in errands.done}
    waiting.cancel()
    await turns()
    assert waiting.cancelled()
    errands.put("wait c", "d")
    await turns()
    assert errands.names == ["b", "d"]
    assert not errands.crew.over.done()


async def test_one_who_swallowed_its_cancellation_is_not_used_again(turns: Turns) -> None:
    tasks: list[Any] = []
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def work() -> bool:
        await queue.get()
        tasks.append(crew.waits())
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        return True

    crew = Crew(work)
    crew.start()
    queue.put_nowait("a")
    await turns()
    tasks[0].cancel()
    await turns()
    assert tasks[0].done()
    queue.put_nowait("b")
    await turns()
    assert tasks[1] is not tasks[0]
    await crew.aclose()


async def test_one_who_was_cancelled_by_its_work_gives_way_and_loses_nothing(turns: Turns) -> None:
    queue, done = deque(range(10)), []

    async def work() -> bool:
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        while queue:
            number = queue.popleft()
            if number in (3, 4, 7):
                task.cancel()
            done.append(number)
            if crew.gives_way():
                return True
        await asyncio.Event().wait()
        return True

    crew = Crew(work)
    crew.start()
    await turns()
    assert done == list(range(10))
    assert not crew.over.done()
    await crew.aclose()


async def test_only_the_leader_can_give_the_lead_away(errands: Errands, turns: Turns) -> None:
    await turns()
    with pytest.raises(RuntimeError, match="only the leader"):
        errands.crew.waits()
    assert not errands.crew.gives_way()


async def test_it_is_over_when_there_is_no_more(errands: Errands, turns: Turns) -> None:
    errands.put("wait a", None)
    await turns()
    assert errands.crew.over.result() is None
    assert not errands.held["wait a"].done()  # whoever waits is its owner's to end


async def test_an_error_of_the_leader_is_how_it_ends(errands: Errands, turns: Turns) -> None:
    errands.put("wait a", KeyError("no sense"))
    await turns()
    assert isinstance(errands.crew.over.exception(), KeyError)


async def test_an_error_of_a_follower_ends_that_one_alone(errands: Errands, turns: Turns) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    errands.put("fail late", "b")
    await turns()
    errands.put("wait c", "d")
    await turns()
    assert errands.names == ["b", "d"]
    assert not errands.crew.over.done()
    errands.tasks.clear()
    gc.collect()
    assert [type(context["exception"]) for context in told] == [KeyError]  # and it is no secret


async def test_closing_ends_all_whatever_they_do(turns: Turns) -> None:
    before = asyncio.all_tasks()
    errands = Errands()
    errands.crew.start()
    errands.put(*(f"wait {number}" for number in range(20)), "b")
    await turns()
    for number in range(10):
        errands.held[f"wait {number}"].set_result(None)
    await turns()
    await errands.crew.aclose()
    assert asyncio.all_tasks() == before
    assert errands.crew.over.result() is None
    await errands.crew.aclose()


async def test_closing_as_soon_as_it_has_started_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    errands = Errands()
    errands.crew.start()
    await errands.crew.aclose()
    assert asyncio.all_tasks() == before
    assert errands.taken == []


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_exactly_one_leads_and_all_is_done_once(seed: int) -> None:
    source = random.Random(seed)
    errands = Errands()
    errands.crew.start()
    put, cancelled = 0, 0
    for _ in range(300):
        what = source.choice(["put", "put", "end", "end", "cancel", "turn", "turn"])
        waiting = [name for name, held in errands.held.items() if not held.done()]
        if what == "put":
            kinds = [source.choice(["wait", "go"]) for _ in range(source.randrange(1, 4))]
            errands.put(*(f"{kind} {put + index}" for index, kind in enumerate(kinds)))
            put += len(kinds)
        elif what == "end" and waiting:
            errands.held[source.choice(waiting)].set_result(None)
        elif what == "cancel" and waiting:
            errands.held[source.choice(waiting)].cancel()  # as its task would be
            cancelled += 1
        elif what == "turn":
            await asyncio.sleep(0)
        assert errands.leaders <= 1
    for _ in range(1000):
        await asyncio.sleep(0)
        for held in errands.held.values():
            if not held.done():
                held.set_result(None)
    assert errands.most_leaders == errands.leaders == 1
    assert Counter(errands.taken).most_common(1)[0][1] == 1
    assert (len(errands.taken), len(errands.done)) == (put, put - cancelled)
    assert not errands.crew.over.done()
    await errands.crew.aclose()
