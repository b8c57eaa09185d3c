import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.deadline import Deadline, Duration, parse_duration
from orchestrator.core.errors import DeadlineExceeded
from orchestrator.testing import ManualClock

spans = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("300ms", 0.3),
        (" 1.5 s ", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("250us", 0.00025),
        (3, 3.0),
        (0.5, 0.5),
        (timedelta(minutes=1, milliseconds=5), 60.005),
    ],
)
def test_a_duration_may_be_written_in_words_seconds_or_a_timedelta(
    duration: Duration, seconds: float
) -> None:
    assert parse_duration(duration) == pytest.approx(seconds)


@given(st.integers(1, 10**9), st.sampled_from(["us", "ms", "s", "m", "h"]))
def test_a_larger_number_of_a_unit_is_longer(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") < parse_duration(f"{number + 1}{unit}")


@pytest.mark.parametrize(
    "duration",
    [
        *("", "fast", "300", "ms", "1 day", "-1s", "0s", "1e3s", "1s1s", "9" * 400 + "s"),
        *(0, -2.0, math.nan, math.inf, timedelta(0), timedelta(seconds=-1)),
    ],
)
def test_what_is_no_duration_is_refused_with_examples(duration: Duration) -> None:
    with pytest.raises(ValueError, match=r'is no duration: write "300ms", "1\.5s", "2m"'):
        parse_duration(duration)


@pytest.mark.parametrize("duration", [10**400, None, [1.0], True])
def test_what_is_no_number_at_all_is_refused_alike(duration: Any) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(duration)


@given(spans, spans)
def test_time_left_shrinks_as_the_clock_goes(length: float, passed: float) -> None:
    clock = ManualClock()
    deadline = Deadline.after(length, clock)
    clock.turn(passed)
    assert deadline.left() == pytest.approx(length - passed, abs=1e-6)


def test_a_deadline_is_exceeded_at_its_very_moment() -> None:
    clock = ManualClock()
    deadline = Deadline.after(2.0, clock)
    clock.turn(1.9)
    deadline.check("c1")
    clock.turn(0.1)
    with pytest.raises(DeadlineExceeded) as refused:
        deadline.check("c1")
    assert refused.value.call_id == "c1"


@given(spans, st.none() | spans)
def test_a_nested_call_never_outlasts_its_parent(own: float, parent: float | None) -> None:
    clock = ManualClock()
    outer = None if parent is None else Deadline.after(parent, clock)
    chosen = Deadline.after(own, clock).earlier(outer)
    assert chosen.left() == pytest.approx(own if parent is None else min(own, parent))
