import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.means import AgeingMean, DecayingMean, RecentMinimum
from orchestrator.testing import ManualClock

samples = st.lists(st.floats(0, 1e6), min_size=1, max_size=30)
pauses = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1e6)), min_size=1, max_size=30)


def test_the_first_samples_count_alike() -> None:
    mean = DecayingMean(0.2)
    for sample in (10.0, 20.0, 30.0):
        mean.add(sample)
    assert mean.value == pytest.approx(20.0)


def test_later_samples_are_followed_at_the_given_weight() -> None:
    mean = DecayingMean(0.5)
    for sample in (10.0, 10.0, 10.0, 20.0):
        mean.add(sample)
    assert mean.value == pytest.approx(15.0)


@given(samples, st.floats(0.01, 1))
def test_a_mean_stays_within_its_samples(values: list[float], weight: float) -> None:
    mean = DecayingMean(weight)
    for value in values:
        mean.add(value)
    assert min(values) - 1e-3 <= mean.value <= max(values) + 1e-3


def test_an_estimate_nobody_renews_halves_every_half_life() -> None:
    clock = ManualClock()
    mean = AgeingMean(clock, half_life=30.0)
    assert mean.value == 0.0
    mean.add(80.0)
    assert mean.value == 80.0
    clock.turn(30.0)
    assert mean.value == pytest.approx(40.0)
    clock.turn(60.0)
    assert mean.value == pytest.approx(10.0)


def test_a_slow_past_that_was_forgotten_does_not_come_back_with_a_fast_sample() -> None:
    clock = ManualClock()
    mean = AgeingMean(clock, half_life=30.0)
    mean.add(1000.0)
    clock.turn(300.0)
    assert mean.value < 1.0
    mean.add(5.0)
    assert mean.value <= 5.0


def test_a_clock_that_stands_still_forgets_nothing() -> None:
    clock = ManualClock()
    mean = AgeingMean(clock)
    mean.add(8.0)
    clock.turn(-5.0)
    assert mean.value == 8.0


@given(pauses)
def test_a_minimum_is_at_most_every_sample_of_the_last_window(
    steps: list[tuple[float, float]],
) -> None:
    clock = ManualClock()
    least, seen = RecentMinimum(clock, window=2.0), []
    for pause, sample in steps:
        clock.turn(pause)
        least.add(sample)
        seen.append((clock(), sample))
    assert least.value <= min(value for at, value in seen if clock() - at <= 2.0)
    assert least.value in [value for _, value in seen]


def test_a_minimum_forgets_what_is_two_windows_old() -> None:
    clock = ManualClock()
    least = RecentMinimum(clock, window=2.0)
    assert least.value == 0.0
    least.add(1.0)
    for _ in range(6):
        clock.turn(1.0)
        least.add(50.0)
    assert least.value == 50.0


def test_a_minimum_forgets_what_was_before_a_long_pause() -> None:
    clock = ManualClock()
    least = RecentMinimum(clock, window=2.0)
    least.add(1.0)
    clock.turn(1000.0)
    least.add(50.0)
    assert least.value == 50.0
