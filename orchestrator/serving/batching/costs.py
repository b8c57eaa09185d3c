"""What a run of a model costs, by its rows and their length: learned from every run."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""The rows of a batch, and the length that all of them are padded to."""

Law = tuple[float, float, float]
"""Seconds for each run, for each position of the padded batch, for each pair of positions."""

Sums = NDArray[np.float64]
"""The normal equations of a least-squares fit of the law: three rows of four numbers."""

_PACE = 0.3  # how far the pace follows each run
_TABLE = 0.02  # and how far the table does around the run's own size
_HELD_UP = math.log(2)  # a run twice as long as expected was held up: it teaches no more than that
_REFIT = 16  # runs between two fits of the law,
_KEPT = 0.97  # and how much of what was known before each of them keeps
_FIRST = 4.0  # how many runs a first measurement counts for; it is never forgotten
_LEAST = 1e-6
_TICK = 1e-9


class CostTable:
    """Seconds of a run by (rows, length): a law, a table of what it misses, and a pace.

    seconds = pace * table(rows, length)
              * (run + token * rows * length + pair * rows * length * length)

    The law's terms are what starting a run costs, what each position of the padded batch costs,
    and attention; it is fitted to the ratios of all that was measured, the latest runs most
    (recursive least squares with forgetting, Plackett 1950), so that what is learned at one size
    holds at all others. The table stands at powers of two, is interpolated between them, and
    begins with ones; after each run the corners around its size move towards what it took, as
    far as each had a part in the prediction (normalised least mean squares, Widrow and Hoff
    1960). The pace is how slow the machine is just now: what slows every run down must not make
    those sizes look dear that happen to run then.

    Args:
        measured: Seconds by size; at least one, all positive.
    """

    def __init__(self, measured: Mapping[Size, float]) -> None:
        self._first = _FIRST * _sums(list(measured), list(measured.values()), [1.0] * len(measured))
        self._later: Sums = np.zeros((3, 4))
        self._law = _solved(self._first)
        self._recent: list[tuple[Size, float, float]] = []
        self._table: dict[Size, float] = {}
        self._pace = 1.0

    def cost(self, rows: int, length: int) -> float:
        """Return the seconds that a run is expected to take."""
        x, y = rows.bit_length() - 1, length.bit_length() - 1
        right, up = rows / (1 << x) - 1, length / (1 << y) - 1
        at = self._table.get
        table = (1 - right) * ((1 - up) * at((x, y), 1.0) + up * at((x, y + 1), 1.0))
        if right:
            table += right * ((1 - up) * at((x + 1, y), 1.0) + up * at((x + 1, y + 1), 1.0))
        run, token, pair = self._law
        return self._pace * table * (run + rows * length * (token + pair * length))

    def learn(self, rows: int, length: int, seconds: float) -> None:
        """Correct all three by what a run took."""
        if seconds < _TICK:  # the clock stood still
            return
        expected = self.cost(rows, length)
        surprise = math.log(seconds / expected)
        surprise = min(max(surprise, -_HELD_UP), _HELD_UP)
        self._recent.append(((rows, length), expected / self._pace, surprise))
        self._pace *= math.exp(_PACE * surprise)
        around = _around(rows, length)
        whole = sum(part * part for part in around.values())
        for at, part in around.items():
            moved = math.exp(_TABLE * surprise * part / whole)
            self._table[at] = self._table.get(at, 1.0) * moved
        if len(self._recent) == _REFIT:
            self._refit()

    def _refit(self) -> None:
        """Fit the law to the latest runs too: to their differences, since the pace is apart."""
        common = sum(surprise for *_, surprise in self._recent) / _REFIT
        sizes, expected, surprises = zip(*self._recent, strict=True)
        ratios = [math.exp(surprise - common) for surprise in surprises]
        self._later = _KEPT * self._later + _sums(sizes, expected, ratios)
        self._law = _solved(self._first + self._later)
        self._recent.clear()


def _sums(sizes: Sequence[Size], expected: Sequence[float], ratios: Sequence[float]) -> Sums:
    """Return what runs add to the fit, where each took so many times what was expected."""
    rows, lengths = np.array(sizes, float).T
    terms = np.stack([np.ones(len(sizes)), rows * lengths, rows * lengths * lengths])
    relative = terms / np.array(expected)
    return np.asarray(relative @ np.vstack([relative, ratios]).T)


def _solved(sums: Sums) -> Law:
    """Return the law that fits best of those without a negative term."""
    scale = 1 / np.sqrt(np.diag(sums))  # what was not measured is shared evenly by the terms
    products, wanted = sums[:, :3] * scale * scale[:, None], sums[:, 3] * scale
    chosen, found = [0, 1, 2], np.zeros(3)
    while chosen:
        part = np.linalg.lstsq(products[np.ix_(chosen, chosen)], wanted[chosen], rcond=_LEAST)[0]
        if part.min() >= 0:
            found[chosen] = part
            break
        del chosen[int(part.argmin())]
    run, token, pair = np.maximum(found, _LEAST) * scale
    return float(run), float(token), float(pair)


def _around(rows: int, length: int) -> dict[Size, float]:
    """Return the powers of two around a size, each with its part in the interpolation."""
    x, y = rows.bit_length() - 1, length.bit_length() - 1
    right, up = rows / (1 << x) - 1, length / (1 << y) - 1
    corners = {
        (x, y): (1 - right) * (1 - up),
        (x + 1, y): right * (1 - up),
        (x, y + 1): (1 - right) * up,
        (x + 1, y + 1): right * up,
    }
    return {at: part for at, part in corners.items() if part}
