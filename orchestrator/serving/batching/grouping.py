"""Which of the waiting rows run together: those that are cheaper together than apart."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.serving.batching.costs import CostTable
from orchestrator.serving.batching.waiting import Entry

_NEARLY = 1.03
"""The smallest batch is taken that costs at most so many times what the cheapest does: the rows
of a large one all wait for its end, and what it would save is within what is known of costs."""

_HOPELESS = 1.1
"""It is not tried further once it is so much dearer than the best: the rest is longer still."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a batch may grow.

    Attributes:
        rows: The most rows.
        room: The most rows times their length that fit into memory.
    """

    rows: int
    room: float = float("inf")


def group(
    first: Entry,
    others: Iterable[Entry],
    limits: Limits,
    costs: CostTable | None,
    stretch: float = 1.0,
) -> list[Entry]:
    """Return the rows to run with the first, itself in front.

    Rows are added one by one; of all these batches that one is taken which costs the least for
    each second that its rows would cost apart, or a smaller one that costs hardly more. A row
    that would make the batch too late for anyone in it, or too large, is passed over. On mixed
    lengths this leaves the padding out that costs more than sharing a run saves; where a run
    costs the same for any number of rows, as on a large accelerator, it fills the batch.

    Args:
        first: The row that is in the batch whatever it costs.
        others: The rows that may join it, the best first.
        limits: How far the batch may grow.
        costs: What runs cost; without it every row that may join does.
        stretch: By how much the batch is larger than the best one, as far as there are rows.
    """
    batch, longest = [first], first.length
    apart = costs.cost(1, longest) if costs else 0.0
    left = _time_left(first)
    ratios = [1.0]
    for entry in others:
        if len(batch) == limits.rows:
            break
        length, count = max(longest, entry.length), len(batch) + 1
        if count * length > limits.room:
            continue
        if costs:
            together = costs.cost(count, length)
            time = min(left, _time_left(entry))
            if together > time:
                continue
            left = time
            apart += costs.cost(1, entry.length)
            ratios.append(together / apart)
            if ratios[-1] > min(ratios) * _HOPELESS:
                break
        batch.append(entry)
        longest = length
    if costs is None:
        return batch
    return batch[: math.ceil(_size(ratios) * stretch)]


def _size(ratios: list[float]) -> int:
    """Return how many rows to take, by what batches of one, two, three ... rows cost."""
    best = min(ratios)
    cheapest = ratios.index(best) + 1
    small = next(count for count, ratio in enumerate(ratios, 1) if ratio <= best * _NEARLY)
    # What is left over must make another such batch: alone it would be dear.
    return small if cheapest - small >= small else cheapest


def _time_left(entry: Entry) -> float:
    return entry.deadline.left() if entry.deadline else float("inf")
