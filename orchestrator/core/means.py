"""Estimates that follow change and forget with time."""

import math

from orchestrator.core.deadline import Clock


class DecayingMean:
    """An exponentially weighted mean of samples; the first few samples count alike.

    Args:
        weight: How much one new sample counts, from 0 to 1.
    """

    def __init__(self, weight: float = 0.2) -> None:
        self._weight = weight
        self._samples = 0
        self.value = 0.0

    def add(self, sample: float) -> None:
        """Take a sample."""
        self._samples += 1
        self.value += max(self._weight, 1 / self._samples) * (sample - self.value)


class AgeingMean:
    """An exponentially weighted mean that fades toward zero while nobody adds to it.

    What was slow once is worth another try after a while: an estimate that is not renewed
    halves every half-life, until a call goes there again and renews it.

    Args:
        clock: Tells the age of the estimate.
        half_life: Seconds after which an estimate that was not renewed counts half.
        weight: How much one new sample counts, from 0 to 1; the first one counts alone.
    """

    def __init__(self, clock: Clock, half_life: float = 30.0, weight: float = 0.2) -> None:
        self._clock = clock
        self._half_life = half_life
        self._weight = weight
        self._mean: float | None = None
        self._renewed = clock()

    def add(self, sample: float, count: int = 1, at: float | None = None) -> None:
        """Take a sample, or the mean of so many, of this moment or of an earlier one."""
        at = self._clock() if at is None else at
        faded = self._value_at(at)
        weight = 1 - (1 - self._weight) ** count
        self._mean = sample if self._mean is None else faded + weight * (sample - faded)
        self._renewed = at

    @property
    def value(self) -> float:
        """The estimate at this moment; 0 without samples."""
        return self._value_at(self._clock())

    def _value_at(self, moment: float) -> float:
        age = max(moment - self._renewed, 0.0)
        return (self._mean or 0.0) * math.exp2(-age / self._half_life)


class RecentMinimum:
    """The least of the samples of the last one to two windows.

    A round trip is what the least delayed message took; the rest waited somewhere. BBR
    estimates it like this (Cardwell et al., 2016).

    Args:
        clock: Tells when a window ends.
        window: Seconds.
    """

    def __init__(self, clock: Clock, window: float = 2.0) -> None:
        self._clock = clock
        self._window = window
        self._started = clock()
        self._now = self._before = math.inf

    def add(self, sample: float) -> None:
        """Take a sample."""
        age = self._clock() - self._started
        if age > self._window:
            self._before = self._now if age <= 2 * self._window else math.inf
            self._started, self._now = self._clock(), math.inf
        self._now = min(self._now, sample)

    @property
    def value(self) -> float:
        """The estimate; 0 without samples."""
        least = min(self._now, self._before)
        return least if least < math.inf else 0.0
