from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.wire.share import Share


def run(share: Share, pace: Callable[[bool], float], messages: int, now: float = 0.0) -> float:
    """Send messages of 32 frames, as fast as the share that is tried allows; return the time."""
    for _ in range(messages):
        now += 32 / pace(share.halves)
        share.sent(32, now)
    return now


def halves_are(fast: bool) -> Callable[[bool], float]:
    return lambda halves: 100_000.0 if halves is fast else 60_000.0


@given(st.integers(0, 10_000))
def test_a_message_carries_at_least_one_call_and_half_of_them_at_first(outstanding: int) -> None:
    assert Share().most(outstanding) == max(1, (outstanding + 1) // 2)


@pytest.mark.parametrize("fast", [True, False])
def test_the_faster_share_is_taken(fast: bool) -> None:
    share = Share()
    now = run(share, halves_are(fast), 3_000)
    taken = 0
    for _ in range(3_200):
        taken += share.halves is fast
        now = run(share, halves_are(fast), 1, now)
    assert taken > 2_800
    assert share.most(64) in (32, 64)


def test_a_machine_that_changes_is_noticed() -> None:
    share = Share()
    now = run(share, halves_are(True), 3_000)
    now = run(share, halves_are(False), 6_000, now)
    trials = []
    for _ in range(64):
        trials.append(share.halves)
        now = run(share, halves_are(False), 33, now)
    assert trials.count(False) > trials.count(True)


def test_a_small_difference_changes_nothing() -> None:
    share = Share()
    now = 0.0
    for _ in range(100):
        now = run(share, lambda halves: 100_000.0 if halves else 102_000.0, 34, now)
    trials = [share.halves]
    for _ in range(40):
        now = run(share, lambda halves: 100_000.0 if halves else 102_000.0, 34, now)
        trials.append(share.halves)
    assert trials.count(True) > trials.count(False)


def test_messages_far_apart_tell_nothing() -> None:
    share = Share()
    now = 0.0
    for _ in range(2_000):
        now += 0.1
        share.sent(64, now)
    assert share.halves
