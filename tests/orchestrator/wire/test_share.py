from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.wire.share import Share

Pace = Callable[[int], float]


def run(share: Share, pace: Pace, messages: int, now: float = 0.0) -> float:
    """Send messages of 64 calls under way, as fast as the share allows; return the time."""
    for _ in range(messages):
        frames = share.most(64)
        now += frames / pace(share.parts)
        share.sent(frames, now)
    return now


def fast(best: int, slow: float = 60_000.0) -> Pace:
    return lambda parts: 100_000.0 if parts == best else slow


def tried(share: Share, pace: Pace, now: float) -> Mapping[int, int]:
    """Return how often each share is tried from now on."""
    counts = {1: 0, 2: 0, 4: 0}
    for _ in range(3_000):
        counts[share.parts] += 1
        now = run(share, pace, 1, now)
    return counts


@given(st.integers(0, 10_000))
def test_a_message_carries_at_least_one_call_and_half_of_them_at_first(outstanding: int) -> None:
    assert Share().most(outstanding) == max(1, (outstanding + 1) // 2)


@pytest.mark.parametrize("best", [1, 2, 4])
def test_the_fastest_share_is_taken(best: int) -> None:
    share = Share()
    now = run(share, fast(best), 3_000)
    assert tried(share, fast(best), now)[best] > 2_400


@pytest.mark.parametrize("slow", [5_000.0, 60_000.0])
def test_a_machine_that_changes_is_noticed(slow: float) -> None:
    share = Share()
    now = run(share, fast(1, slow), 3_000)
    now = run(share, fast(4, slow), 3_000, now)
    assert tried(share, fast(4, slow), now)[4] > 2_000


def test_a_small_difference_changes_nothing() -> None:
    share = Share()

    def pace(parts: int) -> float:
        return 102_000.0 if parts == 4 else 100_000.0

    now = run(share, pace, 3_000)
    assert tried(share, pace, now)[2] > 2_000


def test_messages_far_apart_tell_nothing() -> None:
    share = Share()
    now = 0.0
    for _ in range(2_000):
        now += 0.5
        share.sent(64, now)
    assert share.parts == 2
