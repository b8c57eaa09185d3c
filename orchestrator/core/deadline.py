"""Time as a point, not a span: a Deadline travels with its call and every wait asks it."""

import re
import time
from collections.abc import Callable
from datetime import timedelta

from orchestrator.core.errors import DeadlineExceeded
from policies.record import record

Clock = Callable[[], float]
"""Seconds on a clock that never goes back."""

Duration = str | float | timedelta
"""A span of time as users write it: "300ms", "1.5s", "2m", seconds, or a timedelta."""

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h)\s*")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(duration: Duration) -> float:
    """Return a span of time in seconds.

    Raises:
        ValueError: It is no duration, or not a positive one.
    """
    try:
        # To Python True is a number, too.
        seconds = 0.0 if isinstance(duration, bool) else _seconds(duration)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(
            f'{duration!r} is no duration: write "300ms", "1.5s", "2m" or seconds, above 0'
        )
    return seconds


def _seconds(duration: Duration) -> float:
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if not isinstance(duration, str):
        return float(duration)
    match = _DURATION.fullmatch(duration)
    return float(match[1]) * _SECONDS[match[2]] if match else 0.0


@record
class Deadline:
    """A point on a monotonic clock.

    Attributes:
        at: The point, in seconds of that clock.
        clock: The clock that tells how far away it is.
    """

    at: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        """Return the point so many seconds from now."""
        return cls(clock() + seconds, clock)

    def left(self) -> float:
        """Return the seconds left; negative when it has passed."""
        return self.at - self.clock()

    def check(self, call_id: str = "") -> None:
        """Raise DeadlineExceeded if it has passed."""
        if self.left() <= 0:
            raise DeadlineExceeded(call_id=call_id)

    def earlier(self, other: "Deadline | None") -> "Deadline":
        """Return the earlier of the two; both must stand on the same clock."""
        return self if other is None or self.at <= other.at else other
