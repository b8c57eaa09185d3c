"""Filter: a call goes only to a node where this caller has room for one more."""

from policies.base import Filter
from policies.facts import CallFacts, EndpointFacts


class CapacityFilter(Filter):
    """Refuse a node where this caller's bounded queue is full."""

    name = "capacity"
    steady = True

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        """Return why there is no room, or None."""
        if endpoint.in_flight < endpoint.capacity:
            return None
        return f"{endpoint.in_flight} calls in flight or waiting, {endpoint.capacity} at most"
