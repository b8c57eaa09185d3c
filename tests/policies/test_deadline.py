import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.completion import predicted_ms
from policies.deadline import DeadlineFilter
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Placement

CALL = CallFacts("embed", "v1", Label(), Placement("cloud"), 0, 100.0)
NODE = EndpointFacts("cloud-1", "cloud", Clearance(), version="v1")
times = st.floats(0, 1e5)


@given(times, times, st.integers(0, 50), times)
def test_refuses_exactly_the_nodes_that_would_answer_too_late(
    round_trip: float, service: float, ahead: int, left: float
) -> None:
    call = replace(CALL, remaining_ms=left)
    node = replace(
        NODE, round_trip_ms=round_trip, service_ms=service, in_flight=ahead, delay_ms=service
    )
    refused = DeadlineFilter().refuse(call, node) is not None
    assert refused == (predicted_ms(call, node) > left)


def test_a_queue_that_nobody_has_measured_refuses_no_call() -> None:
    busy = replace(NODE, service_ms=50.0, in_flight=20)
    assert DeadlineFilter().refuse(CALL, busy) is None
    assert DeadlineFilter().refuse(CALL, replace(busy, delay_ms=50.0))  # the positive control


def test_a_node_that_would_answer_at_the_last_moment_passes() -> None:
    assert DeadlineFilter().refuse(CALL, replace(NODE, service_ms=100.0)) is None


@pytest.mark.parametrize("left", [-1.0, math.nan])
def test_a_call_without_time_left_goes_nowhere(left: float) -> None:
    assert DeadlineFilter().refuse(replace(CALL, remaining_ms=left), NODE)


def test_a_node_with_a_senseless_estimate_is_refused() -> None:
    assert DeadlineFilter().refuse(CALL, replace(NODE, service_ms=math.nan))


def test_the_reason_names_both_times() -> None:
    reason = DeadlineFilter().refuse(CALL, replace(NODE, service_ms=2500.0))
    assert reason == "predicted 2,500 ms, 100 ms left"
