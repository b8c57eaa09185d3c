"""Taking turns: everything compared is measured inside each round, one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from orchestrator.bench.usage import Usage, family

Figures = dict[str, float]


class CannotRunError(Exception):
    """Something that was to be measured cannot be; says why."""


@dataclass(frozen=True, slots=True)
class Way:
    """One of the things that are compared.

    Attributes:
        name: What tables call it.
        measure: Measures for about so many seconds; gives its figures, and the number of calls
            that the CPU time is divided by, unless it gives figures of CPU time itself.
        server: The process that answers it, whose children count, too; None is this process.
        awake: Wraps its turn; servers whose turn it is not may sleep.
    """

    name: str
    measure: Callable[[float], Awaitable[tuple[Figures, int]]]
    server: int | None = None
    awake: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared under the same conditions: "64 in flight", and all ways to do that."""

    name: str
    ways: Sequence[Way]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one way did in one round.

    Attributes:
        round: The number of the round, from 1.
        case: The case.
        way: The way.
        figures: What was measured.
        foreign: The part of the machine that others used meanwhile, 0 to 1.
    """

    round: int
    case: str
    way: str
    figures: Figures
    foreign: float


@dataclass(slots=True)
class Prepared:
    """A suite with everything started.

    Attributes:
        cases: What to measure.
        absent: What cannot be measured, and why.
    """

    cases: list[Case]
    absent: dict[str, str] = field(default_factory=dict)


WARM_SECONDS = 0.3
_PATIENCE_SECONDS = 120.0

Told = Callable[[str, float], None]
"""Hears what is done next, and what part of all has been done."""


async def take_turns(
    prepared: Prepared, rounds: int, seconds: float, say: Told = lambda *_: None
) -> list[Sample]:
    """Measure every way of every case in each round; who fails is absent from then on.

    Each round begins with another way, so that none always comes after the same one.
    """
    samples: list[Sample] = []
    done, turns = 0, (rounds + 1) * sum(len(case.ways) for case in prepared.cases)
    for number in range(rounds + 1):
        for case in prepared.cases:
            for way in _rotated(case.ways, number):
                say(f"round {number or 'to warm up'}: {case.name}, {way.name}", done / turns)
                done += 1
                if way.name in prepared.absent:
                    continue
                try:
                    long = seconds if number else min(WARM_SECONDS, seconds)
                    async with asyncio.timeout(long + _PATIENCE_SECONDS):
                        figures, foreign = await _turn(way, long)
                except Exception as failure:
                    prepared.absent[way.name] = f"failed in round {number}: {_in_words(failure)}"
                    continue
                if number:
                    samples.append(Sample(number, case.name, way.name, figures, foreign))
    return samples


async def _turn(way: Way, seconds: float) -> tuple[Figures, float]:
    with way.awake():
        servers = family([way.server]) if way.server else frozenset[int]()
        before = Usage.now(servers)
        figures, calls = await way.measure(seconds)
        used = before.until(Usage.now(servers))
    caller, answering = (seconds / calls * 1e6 for seconds in (used.own, used.servers))
    cpu = {"caller_cpu_us": caller, "server_cpu_us": answering, "cpu_us": caller + answering}
    return {**cpu, **figures}, used.foreign


def _rotated(ways: Sequence[Way], by: int) -> Iterable[Way]:
    start = by % len(ways) if ways else 0
    return [*ways[start:], *ways[:start]]


def _in_words(failure: BaseException) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return f"{type(failure).__name__}: {failure}".splitlines()[0][:200]
