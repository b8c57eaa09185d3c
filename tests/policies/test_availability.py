from dataclasses import replace

import pytest

from policies.availability import AvailabilityFilter
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Placement

CALL = CallFacts("embed", "v1", Label(), Placement("cloud"), 100, 1000.0)
NODE = EndpointFacts("cloud-1", "cloud", Clearance(), version="v1")


def test_a_ready_node_with_the_right_version_passes() -> None:
    assert AvailabilityFilter().refuse(CALL, NODE) is None


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (replace(NODE, ready=False, reason="silent for 2 s"), "not ready: silent for 2 s"),
        (replace(NODE, version=None), "does not serve embed"),
        (replace(NODE, version="v2"), "serves version v2, the call needs v1"),
        (replace(NODE, circuit_open=True), "circuit open after repeated failures"),
    ],
)
def test_a_node_that_cannot_take_the_call_says_why(node: EndpointFacts, reason: str) -> None:
    assert AvailabilityFilter().refuse(CALL, node) == reason


def test_an_unready_node_is_not_blamed_for_what_it_serves() -> None:
    node = replace(NODE, ready=False, reason="starting", version=None)
    assert AvailabilityFilter().refuse(CALL, node) == "not ready: starting"
