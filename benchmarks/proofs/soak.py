"""A soak: very many calls, some given up, and what both processes hold between them."""

import asyncio
import gc
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.proofs import app as right_app
from benchmarks.proofs.cancellation import calling
from benchmarks.proofs.checksums import Rows, expected, random_rows
from benchmarks.proofs.daemon import APP, Daemon, edge_node
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from benchmarks.proofs.resources import Held, held_by, slope
from orchestrator.core.errors import DeadlineExceeded

FULL_CALLS = 1_000_000
MOST_BYTES_A_CALL = 200
GIVEN_UP = 0.01
"""The share of calls that are cancelled, and the share of those that run out of time."""

_ROUNDS = 20
_WARM = 0.4  # of the rounds, by when heaps, pools and caches have their size
_SLACK = 3  # threads of gRPC's own pool come and go
_CONTROL_CALLS = 2000
_LATE_SECONDS = 0.02
_SECONDS = 10.0  # the wheels of deadlines have their size after so long
_QUIET_SECONDS = 0.1

Leak = Callable[[list[object]], None]


def no_leak(left: list[object]) -> None:
    """Leave nothing behind."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What both processes hold after so many calls, while no call is under way."""

    calls: int
    caller: Held
    node: Held


class Soak:
    """Makes calls in rounds and looks at both processes between them.

    Args:
        app: The module of the services.
        node: The daemon that serves them.
        seed: Which calls are given up, and what the rows are.
        leak: What each call leaves behind at the caller.
    """

    def __init__(self, app: ModuleType, node: Daemon, seed: int, leak: Leak = no_leak) -> None:
        self._app = app
        self._node = node
        self._random = random.Random(seed)
        rows = [random_rows(self._random)[:, :12] for _ in range(200)]
        self._rows = [(each, expected(each)) for each in rows]
        self._leak = leak
        self._left: list[object] = []
        self.ends: Counter[str] = Counter()
        self.samples: list[Sample] = []

    async def run(self, calls: int, in_flight: int, progress: Progress) -> None:
        """Make so many calls, so many at a time."""
        async with calling(self._node.settings, self._app):
            for number in range(_ROUNDS):
                share = calls * (number + 1) // _ROUNDS - calls * number // _ROUNDS
                await self._round(share, in_flight, progress)
                await self._sample()

    async def _round(self, calls: int, in_flight: int, progress: Progress) -> None:
        left = iter(range(calls))

        async def keep_calling() -> None:
            """Make one call after the other."""
            for _ in left:
                await self._call()
                self._leak(self._left)
                progress(1)

        await asyncio.gather(*(keep_calling() for _ in range(in_flight)))

    async def _call(self) -> None:
        dice = self._random.random()
        if dice < GIVEN_UP:
            await self._cancel()
        elif dice < 2 * GIVEN_UP:
            await self._run_out_of_time()
        else:
            rows, sums = self._random.choice(self._rows)
            answer: Rows = await self._app.checksum.options(deadline=_SECONDS)(rows)
            self.ends["answered" if answer.tolist() == sums else "wrong"] += 1

    async def _cancel(self) -> None:
        call = asyncio.create_task(self._app.stall())
        pause = self._random.choice([0.0, 0.0, self._random.uniform(0, _LATE_SECONDS)])
        asyncio.get_running_loop().call_later(pause, call.cancel)
        try:
            await call
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1

    async def _run_out_of_time(self) -> None:
        try:
            await self._app.stall.options(deadline=_LATE_SECONDS)()
        except DeadlineExceeded:
            self.ends["late"] += 1

    async def _sample(self) -> None:
        await asyncio.sleep(_QUIET_SECONDS)
        gc.collect()
        tasks = await self._app.tasks()  # it collects at the node, too
        caller = held_by(os.getpid(), len(asyncio.all_tasks()))
        node = replace(held_by(self._node.process), tasks=tasks)
        self.samples.append(Sample(self.ends.total(), caller, node))

    @property
    def warm(self) -> list[Sample]:
        """The samples after the warm-up."""
        return list(islice(self.samples, int(_WARM * len(self.samples)), None))


async def prove(
    store: Path,
    calls: int = FULL_CALLS,
    in_flight: int = 64,
    seed: int = 1,
    progress: Progress = no_progress,
) -> Outcome:
    """Prove that calls leave nothing behind, and that something left behind would be seen."""
    found = await soak(store, right_app, calls, in_flight, seed, progress=progress)
    control = await planted(store, _CONTROL_CALLS, in_flight, seed)
    figures = {"samples": [asdict(sample) for sample in found.samples]}
    terms = {"calls": calls, "in flight": in_flight, "seed": seed}
    return Outcome("soak", terms, (*checks_of(found, calls, in_flight), control), figures)


async def soak(
    store: Path,
    app: ModuleType,
    calls: int,
    in_flight: int,
    seed: int,
    leak: Leak = no_leak,
    progress: Progress = no_progress,
) -> Soak:
    """Run a soak against a daemon of its own."""
    name = APP if app is right_app else app.__name__
    async with edge_node(store, name) as node:
        found = Soak(app, node, seed, leak)
        await found.run(calls, in_flight, progress)
    return found


def checks_of(found: Soak, calls: int, in_flight: int) -> list[Check]:
    """Return what a soak promises."""
    ends, enough = found.ends, calls * GIVEN_UP / 2
    checks = [
        Check(
            "every call ends as it should",
            f"{ends['answered']:,} answered, {ends['cancelled']:,} cancelled, "
            f"{ends['late']:,} late, {ends['wrong']} wrong",
            ends.total() == calls
            and not ends["wrong"]
            and min(ends["cancelled"], ends["late"]) > enough,
        )
    ]
    for side in ("caller", "node"):
        held = [getattr(sample, side) for sample in found.warm]
        checks.append(_memory_check(side, found.warm, held))
        # A node keeps the tasks of as many calls as were once under way.
        slacks = {"tasks": in_flight, "threads": _SLACK, "descriptors": _SLACK}
        checks += [_count_check(side, what, held, slack) for what, slack in slacks.items()]
    return checks


def _memory_check(side: str, warm: list[Sample], held: list[Held]) -> Check:
    grows = slope([sample.calls for sample in warm], [each.memory for each in held])
    return Check(
        f"{side}: memory grows by less than {MOST_BYTES_A_CALL} bytes a call",
        f"{grows:.1f} bytes a call, from {held[0].memory / 2**20:.1f} to "
        f"{held[-1].memory / 2**20:.1f} MiB",
        grows < MOST_BYTES_A_CALL,
    )


def _count_check(side: str, what: str, held: list[Held], slack: int) -> Check:
    """Compare the beginning with the end: what leaks grows, what only swings does not."""
    counts: list[Any] = [getattr(each, what) for each in held]
    third = max(len(counts) // 3, 1)
    first, last = min(counts[:third]), min(counts[-third:])
    seen = f"{min(counts)} to {max(counts)}, at the end {counts[-1]}"
    return Check(f"{side}: {what} are constant", seen, last <= first + slack)


async def planted(store: Path, calls: int, in_flight: int, seed: int) -> Check:
    """Return whether the same checks find what is left behind on both sides."""
    from benchmarks.proofs import faulty

    found = await soak(store, faulty, calls, in_flight, seed, faulty.leave_behind)
    wanted = [f"{side}: {what}" for side in ("caller", "node") for what in _PLANTED]
    checks = checks_of(found, calls, in_flight)
    seen = [w for w in wanted if any(c.promise.startswith(w) and not c.holds for c in checks)]
    return Check(
        "the positive control: planted leaks are seen", ", ".join(seen) or "none", seen == wanted
    )


_PLANTED = ("memory", "tasks", "descriptors")
