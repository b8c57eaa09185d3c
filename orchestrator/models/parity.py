"""How far the answers of one form of a model are from those of another."""

from collections.abc import Sequence

import numpy as np

from orchestrator.core.model import Array, Row


def relative_error(given: Sequence[Row], expected: Sequence[Row]) -> float:
    """Return the most by which any output of any row differs, as a part of its Euclidean norm.

    For vectors of length one, 0.1 is a cosine of 0.995 and 0.2 one of 0.98. What is no number
    must be none in both.

    Args:
        given: Answers, one a row.
        expected: The answers they are held against, in the same order.
    """
    pairs = zip(given, expected, strict=True)
    return max((_difference(one[name], two[name]) for one, two in pairs for name in two), default=0)


def _difference(one: Array, two: Array) -> float:
    if one.shape != two.shape:
        return float("inf")
    here, there = np.asarray(one, np.float64), np.asarray(two, np.float64)
    finite = np.isfinite(there)
    if not np.array_equal(here[~finite], there[~finite], equal_nan=True):
        return float("inf")
    apart = float(np.linalg.norm(here[finite] - there[finite]))
    norm = float(np.linalg.norm(there[finite]))
    return apart / norm if norm else (0.0 if apart == 0 else float("inf"))
