from hypothesis import given
from hypothesis import strategies as st

from orchestrator.serving.access.bucket import TokenBucket
from orchestrator.testing import ManualClock

STEPS = st.lists(st.one_of(st.none(), st.floats(0.0, 3.0, allow_subnormal=False)), max_size=200)
"""None takes a token, a number lets so many seconds pass."""


@given(rate=st.floats(0.1, 50), burst=st.integers(1, 20), steps=STEPS)
def test_no_window_of_any_length_lets_more_through_than_burst_and_rate(
    rate: float, burst: int, steps: list[float | None]
) -> None:
    clock = ManualClock(0.0)
    bucket = TokenBucket(rate, burst, clock)
    taken: list[float] = []
    for step in steps:
        if step is not None:
            clock.turn(step)
        elif bucket.take() == 0:
            taken.append(clock.now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            most = burst + rate * (taken[last] - start)
            assert last - first + 1 <= most + 1e-6


@given(rate=st.floats(0.1, 50), burst=st.integers(1, 20), steps=STEPS)
def test_whoever_waits_as_long_as_it_was_told_gets_through(
    rate: float, burst: int, steps: list[float | None]
) -> None:
    clock = ManualClock(0.0)
    bucket = TokenBucket(rate, burst, clock)
    for step in steps:
        if step is not None:
            clock.turn(step)
        elif seconds := bucket.take():
            assert 0 < seconds <= 1 / rate + 1e-9
            clock.turn(seconds * (1 + 1e-9))
            assert bucket.take() == 0


def test_the_burst_comes_at_once_and_then_the_rate() -> None:
    clock = ManualClock()
    bucket = TokenBucket(2.0, 3, clock)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]
    clock.turn(0.5)
    assert [bucket.take() for _ in range(2)] == [0, 0.5]
    clock.turn(1000)
    assert [bucket.take() == 0 for _ in range(4)] == [True, True, True, False]
