import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.call import Timings
from orchestrator.routing.stats import EndpointStats
from orchestrator.testing import ManualClock

HALF_LIFE = 30.0
LARGE = 1_000_000


def replied(
    stats: EndpointStats, service_ms: float, network_ms: float = 1.0, size: int = 0
) -> None:
    timings = Timings(node_ms=service_ms, service_ms=service_ms)
    stats.saw_reply("embed", service_ms + network_ms, size, timings)


def test_nothing_is_known_at_first_and_a_slow_network_is_assumed() -> None:
    stats = EndpointStats(ManualClock())
    assert (stats.round_trip_ms, stats.service_ms("embed"), stats.waiting) == (0.0, 0.0, 0)
    assert stats.bytes_per_ms == 12_500.0


@given(st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_service_times_converge_when_the_service_changes(before: float, after: float) -> None:
    stats = EndpointStats(ManualClock())
    for _ in range(30):
        replied(stats, before)
    for _ in range(60):
        replied(stats, after)
    assert stats.service_ms("embed") == pytest.approx(after, rel=0.05, abs=0.05)


def test_the_first_reply_counts_fully() -> None:
    stats = EndpointStats(ManualClock())
    replied(stats, 80.0)
    assert stats.service_ms("embed") == pytest.approx(80.0)


def test_services_are_told_apart() -> None:
    stats = EndpointStats(ManualClock())
    replied(stats, 80.0)
    assert stats.service_ms("other") == 0.0


def test_the_round_trip_is_what_the_least_delayed_reply_took() -> None:
    stats = EndpointStats(ManualClock())
    for network_ms in (40.0, 12.0, 90.0):
        replied(stats, 5.0, network_ms)
    assert stats.round_trip_ms == pytest.approx(12.0)


def test_a_round_trip_that_became_longer_is_believed_after_two_windows() -> None:
    clock = ManualClock()
    stats = EndpointStats(clock)
    stats.saw_round_trip(1.0)
    for _ in range(6):
        clock.turn(1.0)
        stats.saw_round_trip(50.0)
    assert stats.round_trip_ms == 50.0


@given(st.floats(500.0, 1e6), st.floats(0.1, 50.0), st.integers(0, 2**32))
def test_large_payloads_tell_the_bandwidth(speed: float, round_trip: float, seed: int) -> None:
    source, stats = random.Random(seed), EndpointStats(ManualClock())
    stats.saw_round_trip(round_trip)
    for _ in range(50):
        transfer = LARGE / speed
        replied(stats, 5.0, round_trip + transfer * source.uniform(1.0, 1.2), LARGE)
    assert 0.75 * speed < stats.bytes_per_ms < 1.05 * speed
    assert stats.round_trip_ms == pytest.approx(round_trip)


def test_a_clock_that_measures_less_than_the_node_says_does_no_harm() -> None:
    stats = EndpointStats(ManualClock())
    stats.saw_reply("embed", 1.0, LARGE, Timings(node_ms=5.0, service_ms=5.0))
    stats.saw_reply("embed", 1.0, 0, Timings(node_ms=5.0, service_ms=5.0))
    assert stats.round_trip_ms == 0.0
    assert stats.bytes_per_ms == 12_500.0


def test_the_queue_is_the_one_of_the_last_reply() -> None:
    stats = EndpointStats(ManualClock())
    for waiting in (3, 7, 2):
        stats.saw_reply("embed", 1.0, 0, Timings(waiting=waiting))
    assert stats.waiting == 2


def test_what_was_learned_fades_by_half_each_half_life() -> None:
    clock = ManualClock()
    stats = EndpointStats(clock)
    replied(stats, 800.0)
    clock.turn(3 * HALF_LIFE)
    assert stats.service_ms("embed") == pytest.approx(100.0)


def test_after_a_long_rest_one_fast_answer_weighs_more_than_the_forgotten_slow_ones() -> None:
    clock = ManualClock()
    stats = EndpointStats(clock)
    for _ in range(20):
        replied(stats, 800.0)
    clock.turn(10 * HALF_LIFE)  # the estimate is 0.8 ms now
    replied(stats, 10.0)
    assert stats.service_ms("embed") < 100.0


def test_what_each_call_ahead_costs_is_learned_by_service() -> None:
    stats = EndpointStats(ManualClock())
    assert stats.delay_ms("embed") is None
    stats.saw_queue("embed", 30.0, ahead=10)
    assert stats.delay_ms("embed") == pytest.approx(3.0)
    stats.saw_queue("read", 0.0, ahead=0)
    assert stats.delay_ms("read") == 0.0
