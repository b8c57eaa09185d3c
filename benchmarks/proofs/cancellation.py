"""Calls that are cancelled at any moment: nobody gets another's answer, nobody else is hurt."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from benchmarks.proofs import app as right_app
from benchmarks.proofs.checksums import Rows, expected, random_rows
from benchmarks.proofs.daemon import APP, POLICIES, Daemon, edge_node
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from edge_node.parallel import usable_cores
from orchestrator import Orchestrator
from orchestrator.core.errors import CallError, DeadlineExceeded

Fate = Literal["stays", "cancelled", "late"]

FULL_CALLS = 10_000
DELAY_MS = 4.0
"""How long an idle model waits for more rows, so that calls are cancelled while they wait."""

_MATES_DELAY_MS = 50.0
"""The same for calls that shall share a batch, on a busy machine, too, and whatever it costs."""

_AS_MATES = {"max_delay_ms": _MATES_DELAY_MS, "shape_aware": False, "threads": usable_cores()}
"""Settings of a node that puts three calls into one run: with all cores, none runs beside it."""

_TRIOS = 100  # one for so many calls


@dataclass(frozen=True, slots=True)
class Plan:
    """One call: its rows, what becomes of it, and after how many seconds."""

    rows: Rows
    fate: Fate
    after: float


def plans(calls: int, seed: int) -> list[Plan]:
    """Return calls of which a quarter is cancelled and a tenth has too little time."""
    source = random.Random(seed)
    fates = source.choices(get_args(Fate), [65, 25, 10], k=calls)
    return [Plan(random_rows(source), fate, _pause(source)) for fate in fates]


def _pause(source: random.Random) -> float:
    """Return seconds: none at all, about those of a batch, or those of a busy moment."""
    return source.choice([1e-4, source.uniform(0, 3 * DELAY_MS / 1e3), source.uniform(0, 0.1)])


class Ledger:
    """Counts how calls ended; only a call that was to be given up may end without its answer."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()

    async def settle(self, plan: Plan, answer: Awaitable[Any]) -> None:
        """Wait for the end of a call and write it down."""
        self.ends["calls"] += 1
        try:
            sums = (await answer).tolist()
        except asyncio.CancelledError:
            self.ends["cancelled" if plan.fate == "cancelled" else "lost: CancelledError"] += 1
        except DeadlineExceeded:
            self.ends["late" if plan.fate == "late" else "lost: DeadlineExceeded"] += 1
        except CallError as error:
            self.ends[f"lost: {type(error).__name__}"] += 1
        else:
            self.ends["answered" if sums == expected(plan.rows) else "wrong"] += 1

    @property
    def lost(self) -> dict[str, int]:
        """Calls that ended as they never may."""
        return {end: count for end, count in self.ends.items() if end.startswith("lost")}


async def drive(service: Any, todo: Sequence[Plan], in_flight: int, progress: Progress) -> Ledger:
    """Make calls, so many at a time, and give up those that are to be given up."""
    ledger, waiting = Ledger(), iter(todo)

    async def keep_calling() -> None:
        """Make one call after the other."""
        for plan in waiting:
            await _one(service, plan, ledger)
            progress(1)

    await asyncio.gather(*(keep_calling() for _ in range(in_flight)))
    return ledger


async def _one(service: Any, plan: Plan, ledger: Ledger) -> None:
    late = plan.fate == "late"
    handle = service.options(deadline=plan.after) if late else service
    if plan.fate != "cancelled":
        await ledger.settle(plan, handle(plan.rows))
        return
    call = asyncio.create_task(handle(plan.rows))
    asyncio.get_running_loop().call_later(plan.after, call.cancel)
    await ledger.settle(plan, call)


async def trios(service: Any, count: int, seed: int) -> Ledger:
    """Make calls in threes that share a batch, and cancel one of each three at some moment."""
    source, ledger = random.Random(seed), Ledger()
    for _ in range(count):
        leaves = source.randrange(3)
        rows = [random_rows(source)[:1, :4] for _ in range(3)]
        after = source.uniform(0, 2 * _MATES_DELAY_MS / 1e3)
        three = [
            Plan(r, "cancelled" if i == leaves else "stays", after) for i, r in enumerate(rows)
        ]
        await asyncio.gather(*(_one(service, plan, ledger) for plan in three))
    return ledger


@asynccontextmanager
async def calling(settings: Any, app: ModuleType) -> AsyncIterator[Orchestrator]:
    """Open an orchestrator and wait until its nodes take calls."""
    async with Orchestrator(settings, app=app) as caller:
        while any(caller.problems.values()):  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(0.02)
        yield caller


async def over_a_session(
    store: Path, app: ModuleType, calls: int, seed: int, progress: Progress = no_progress
) -> Ledger:
    """Make the calls to a daemon."""
    async with (
        edge_node(store, app.__name__, max_delay_ms=DELAY_MS) as node,
        calling(node.settings, app),
    ):
        return await drive(app.checksum, plans(calls, seed), 64, progress)


async def as_mates(store: Path, count: int, seed: int) -> tuple[Ledger, float]:
    """Make calls in threes to a daemon; return their ledger, and how many rows a batch had."""
    async with (
        edge_node(store, APP, **_AS_MATES) as node,
        calling(node.settings, right_app),
    ):
        before = await _batches(node)
        ledger = await trios(right_app.checksum, count, seed)
        batches, rows = (b - a for a, b in zip(before, await _batches(node), strict=True))
    return ledger, rows / max(batches, 1)


async def _batches(node: Daemon) -> list[float]:
    names = ("isthmus_batches_total", "isthmus_batch_rows_total")
    return [await asyncio.to_thread(node.metric, f'{n}{{model="checksum"}}') for n in names]


async def in_process(
    store: Path, app: ModuleType, calls: int, seed: int, progress: Progress = no_progress
) -> Ledger:
    """Prove it with a node in this process."""
    settings = {"models": {"store": str(store)}, "policies": POLICIES}
    async with calling(settings, app):
        return await drive(app.checksum, plans(calls, seed), 64, progress)


async def prove(
    store: Path, calls: int = FULL_CALLS, seed: int = 1, progress: Progress = no_progress
) -> Outcome:
    """Prove it over a session and in process, and that swapped rows would be found."""
    far = await over_a_session(store, right_app, calls, seed, progress)
    threes, shared = await as_mates(store, max(calls // _TRIOS, 20), seed)
    near = await in_process(store, right_app, calls, seed, progress)
    checks = [
        *_checks("over a session", far, calls),
        *_checks("in process", near, calls),
        Check(
            "one of three batch mates cancelled: the other two have their answers",
            f"{dict(threes.ends)}, {shared:.1f} rows a batch",
            not (threes.lost or threes.ends["wrong"])
            and min(threes.ends["cancelled"], shared - 1.5) > 0,
        ),
        await control(store, max(calls // 20, 200), seed),
    ]
    terms = {"calls": calls, "in flight": 64, "seed": seed}
    return Outcome("cancellation", terms, tuple(checks))


def _checks(where: str, ledger: Ledger, calls: int) -> list[Check]:
    ends, lost = ledger.ends, ledger.lost
    mostly = ends["answered"] >= calls // 2
    enough = ends["cancelled"] > calls // 50 and ends["late"] > calls // 200
    return [
        Check(
            f"{where}: no answer goes to the wrong caller",
            f"{ends['wrong']} wrong, {ends['answered']:,} right",
            not ends["wrong"] and mostly,
        ),
        Check(
            f"{where}: every call that stays is answered",
            f"{lost or 'none'} lost of {ends['calls']:,}",
            not lost and ends["calls"] == calls,
        ),
        Check(
            f"{where}: calls were cancelled and out of time",
            f"{ends['cancelled']:,} cancelled, {ends['late']:,} late",
            enough,
        ),
    ]


async def control(store: Path, calls: int, seed: int) -> Check:
    """Return whether the same check finds a node that swaps the answers of batch mates."""
    from benchmarks.proofs import faulty

    far = await over_a_session(store, faulty, calls, seed)
    near = await in_process(store, faulty, calls, seed)
    wrong = far.ends["wrong"], near.ends["wrong"]
    return Check(
        "the positive control: a batcher that swaps rows is found",
        f"{wrong[0]} wrong answers over a session, {wrong[1]} in process",
        min(wrong) > 0,
    )
