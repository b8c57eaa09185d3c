from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cost import CostScorer
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Placement

CALL = CallFacts("embed", "v1", Label(), Placement("cloud"), 0, 1000.0)
NODE = EndpointFacts("cloud-1", "cloud", Clearance(), service_ms=3600.0, dollars_per_hour=2.0)


def test_a_thousandth_of_an_hour_costs_a_thousandth_of_the_price() -> None:
    cents = 3600.0 / 3_600_000.0 * 2.0
    assert CostScorer(200.0).cost(CALL, NODE) == pytest.approx(cents * 200.0)
    assert CostScorer().cost(CALL, NODE) == pytest.approx(0.4)


def test_a_node_without_a_price_is_free() -> None:
    assert CostScorer(1e9).cost(CALL, replace(NODE, dollars_per_hour=0.0)) == 0.0


@given(st.floats(0, 1e6), st.floats(0, 1e3))
def test_the_cost_is_one_term_under_its_own_name(service: float, price: float) -> None:
    node = replace(NODE, service_ms=service, dollars_per_hour=price)
    scorer = CostScorer()
    assert scorer.terms(CALL, node) == {"cost": scorer.cost(CALL, node)}


@given(st.floats(0, 1e6))
def test_twice_the_exchange_rate_is_twice_the_cost(rate: float) -> None:
    assert CostScorer(2 * rate).cost(CALL, NODE) == pytest.approx(
        2 * CostScorer(rate).cost(CALL, NODE)
    )
