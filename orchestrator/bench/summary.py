"""From samples to rows: medians, and ratios to a base inside each round."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.bench.suites.suite import Column, Suite
from orchestrator.bench.turns import Sample


@dataclass(frozen=True, slots=True)
class Ratio:
    """How a figure stands to that of a base, each taken inside one round.

    Attributes:
        base: The short name of what it is compared with.
        median: The median over the rounds.
        worst: The least favourable round.
    """

    base: str
    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one way did in one case, over all rounds.

    Attributes:
        case: The case.
        way: The way.
        rounds: In how many rounds it was measured.
        medians: The median of each figure.
        ratios: The ratios of the compared figures, one for each base.
    """

    case: str
    way: str
    rounds: int
    medians: Mapping[str, float]
    ratios: Mapping[str, Sequence[Ratio]]


def summarise(suite: Suite, samples: Sequence[Sample]) -> list[Row]:
    """Return a row for each way of each case, in the order in which they were first measured."""
    order: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        order.setdefault((sample.case, sample.way), []).append(sample)
    cases = list(dict.fromkeys(case for case, _ in order))
    return [
        _row(suite, own, order)
        for case in cases
        for (its_case, _), own in sorted(order.items(), key=lambda item: _place(suite, item[0][1]))
        if its_case == case
    ]


def quiet_share(samples: Sequence[Sample]) -> dict[int, float]:
    """Return the part of the machine that others used, by round."""
    rounds = sorted({sample.round for sample in samples})
    return {
        number: statistics.fmean(s.foreign for s in samples if s.round == number)
        for number in rounds
    }


def _place(suite: Suite, way: str) -> int:
    """Put the ways that are a base alone before all others."""
    alone = [base.ways[0] for base in suite.bases if len(base.ways) == 1]
    return alone.index(way) - len(alone) if way in alone else 0


def _row(suite: Suite, own: list[Sample], everyone: Mapping[tuple[str, str], list[Sample]]) -> Row:
    case, way = own[0].case, own[0].way
    keys = [key for key in own[0].figures if all(key in sample.figures for sample in own)]
    medians = {key: statistics.median(sample.figures[key] for sample in own) for key in keys}
    ratios = {
        column.key: [
            _ratio(column, base.short, pairs)
            for base in suite.bases
            if (pairs := _pairs(column, own, [everyone.get((case, w), []) for w in base.ways]))
        ]
        for column in suite.columns
        if column.compared and column.key in medians
    }
    return Row(case, way, len(own), medians, ratios)


def _pairs(
    column: Column, own: list[Sample], bases: list[list[Sample]]
) -> list[tuple[float, float]]:
    """Return a figure beside the best of the bases, for each round that has both."""
    best = max if column.more_is_better else min
    theirs: dict[int, float] = {}
    for sample in (sample for samples in bases for sample in samples):
        value = sample.figures.get(column.key, 0.0)
        theirs[sample.round] = best(theirs.get(sample.round, value), value)
    return [(s.figures[column.key], theirs[s.round]) for s in own if theirs.get(s.round)]


def _ratio(column: Column, base: str, pairs: list[tuple[float, float]]) -> Ratio:
    found = [own / theirs for own, theirs in pairs]
    worst = min(found) if column.more_is_better else max(found)
    return Ratio(base, statistics.median(found), worst)
