from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.completion import CompletionScorer, predicted_ms
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Placement

CALL = CallFacts("embed", "v1", Label(), Placement("cloud"), 50_000, 1000.0)
NODE = EndpointFacts(
    "cloud-1",
    "cloud",
    Clearance(),
    round_trip_ms=20.0,
    bytes_per_ms=10_000.0,
    service_ms=8.0,
    parallelism=4,
)
times = st.floats(0, 1e5)
nodes = st.builds(
    EndpointFacts,
    name=st.just("cloud-1"),
    tier=st.just("cloud"),
    clearance=st.just(Clearance()),
    in_flight=st.integers(0, 1000),
    waiting=st.integers(0, 1000),
    parallelism=st.integers(1, 16),
    round_trip_ms=times,
    bytes_per_ms=st.floats(1, 1e6),
    service_ms=times,
)


def test_an_idle_node_takes_round_trip_transfer_and_service() -> None:
    assert predicted_ms(CALL, NODE) == pytest.approx(20 + 5 + 8)


def test_calls_ahead_are_shared_by_what_works_side_by_side() -> None:
    assert predicted_ms(CALL, replace(NODE, in_flight=6)) == pytest.approx(33 + 6 * 8 / 4)


def test_what_replies_told_of_the_queue_is_believed_before_any_guess() -> None:
    busy = replace(NODE, in_flight=6)
    assert predicted_ms(CALL, replace(busy, delay_ms=0.0)) == pytest.approx(33)
    assert predicted_ms(CALL, replace(busy, delay_ms=3.0)) == pytest.approx(33 + 18)


def test_the_larger_count_of_calls_ahead_is_believed() -> None:
    own = predicted_ms(CALL, replace(NODE, in_flight=6, waiting=2))
    reported = predicted_ms(CALL, replace(NODE, in_flight=2, waiting=6))
    assert own == reported == pytest.approx(45)


def test_the_terms_have_names_people_know() -> None:
    terms = CompletionScorer().terms(CALL, replace(NODE, waiting=1))
    assert terms == {"round trip": 20.0, "transfer": 5.0, "queue": 2.0, "service": 8.0}


@given(nodes)
def test_the_terms_add_up_to_the_cost(node: EndpointFacts) -> None:
    scorer = CompletionScorer()
    assert sum(scorer.terms(CALL, node).values()) == pytest.approx(scorer.cost(CALL, node))


@given(nodes, st.sampled_from(["round_trip_ms", "service_ms", "in_flight", "waiting"]))
def test_a_slower_or_busier_node_never_looks_faster(node: EndpointFacts, what: str) -> None:
    worse: dict[str, Any] = {what: getattr(node, what) + 5}
    assert predicted_ms(CALL, replace(node, **worse)) >= predicted_ms(CALL, node)
