"""What is tried out before a model's first call: may callers share runs, and what do they cost?"""

import logging
from collections.abc import Sequence

import numpy as np

from orchestrator.core.deadline import Clock
from orchestrator.core.model import Row, Stop
from orchestrator.serving.batching.costs import Size
from orchestrator.serving.batching.forward import Forward

_log = logging.getLogger("isthmus.node")

_TOLERANCE = 1e-4
_ROWS = (1, 4, 16, 64, 256)
_ROUNDS = 3  # the fastest of so many runs counts: what holds a run up only ever adds


def mates_matter(forward: Forward) -> bool:
    """Say whether a row's answer depends on what runs with it, or a run takes one row only.

    Dynamic INT8 quantisation does: it scales activations by the largest of the whole batch, so
    that a caller's answer would tell of other callers' rows. Differences of rounding do not
    count, nor does a model that answers differently each time.
    """
    try:
        mine, *mates = _mixed_rows(forward)
        alone, again = (forward([mine], Stop())[0] for _ in range(2))
    except Exception as error:
        kind = type(error).__name__
        _log.warning("model %s refuses made-up rows (%s): mates not tried", forward.name, kind)
        return False
    try:
        among = forward([mates[0], mine, *mates[1:]], Stop())[1]
    except MemoryError:
        return False
    except Exception:
        return True
    return _alike(alone, again) and not _alike(alone, among)


def _mixed_rows(forward: Forward) -> Sequence[Row]:
    """Return rows that may run together, of unlike length if they may."""
    processor = forward.processor
    short, *longer = processor.lengths()
    rows = [*processor.probe(3, short), *processor.probe(2, longer[0] if longer else short)[1:]]
    return [row for row in rows if processor.key(row) == processor.key(rows[0])]


def _alike(one: Row, other: Row) -> bool:
    """Say whether two answers are the same but for rounding."""
    return all(_close(one[name], other[name]) for name in one)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fc":
        return bool((one == other).all())
    tolerance = max(_TOLERANCE, 4 * float(np.finfo(one.dtype).eps))
    size = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return bool(np.allclose(one, other, rtol=0, atol=tolerance * size, equal_nan=True))


def measure_costs(forward: Forward, most: int, seconds: float, clock: Clock) -> dict[Size, float]:
    """Run batches of several sizes and return the seconds that each takes, as far as it shows.

    Args:
        forward: The model.
        most: The most rows in one run.
        seconds: How long to measure; sizes that would take longer are left out.
        clock: Tells how long a run takes.
    """
    measured: dict[Size, float] = {}
    end = clock() + seconds
    lengths = forward.processor.lengths()
    sizes = {(rows, length) for rows in _ROWS if rows <= most for length in lengths}
    for _ in range(_ROUNDS):
        for rows, length in sorted(sizes, key=lambda size: size[0] * size[1]):
            if _expected(measured, rows, length) > end - clock():
                continue
            try:
                took = _timed(forward, forward.processor.probe(rows, length), clock)
            except Exception:  # it does not take rows like these, or not so many
                sizes.discard((rows, length))
            else:
                measured[rows, length] = min(took, measured.get((rows, length), took))
    if not measured:
        example = forward.processor.rows(forward.processor.example())
        length = max(forward.processor.length(row) for row in example)
        measured[len(example), length] = _timed(forward, example, clock)
    return {size: took for size, took in measured.items() if took > 0}


def _timed(forward: Forward, rows: Sequence[Row], clock: Clock) -> float:
    began = clock()
    forward(rows, Stop())
    return clock() - began


def _expected(measured: dict[Size, float], rows: int, length: int) -> float:
    """Return the most a size can cost, by the sizes below it."""
    below = [
        seconds * rows * length / (r * at)
        for (r, at), seconds in measured.items()
        if r <= rows and at <= length
    ]
    return min(below, default=0.0)
