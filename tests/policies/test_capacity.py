from hypothesis import given
from hypothesis import strategies as st

from policies.capacity import CapacityFilter
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Placement

CALL = CallFacts("embed", "v1", Label(), Placement("cloud"), 0, 100.0)


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_node_passes_while_one_more_call_has_room(in_flight: int, capacity: int) -> None:
    node = EndpointFacts("cloud-1", "cloud", Clearance(), in_flight=in_flight, capacity=capacity)
    assert (CapacityFilter().refuse(CALL, node) is None) == (in_flight + 1 <= capacity)


def test_the_reason_names_the_calls_and_the_limit() -> None:
    node = EndpointFacts("cloud-1", "cloud", Clearance(), in_flight=8, capacity=8)
    assert CapacityFilter().refuse(CALL, node) == "8 calls in flight or waiting, 8 at most"
