"""Filter: a call goes only to a node that is ready and serves this version of the service."""

from policies.base import Filter
from policies.facts import CallFacts, EndpointFacts


class AvailabilityFilter(Filter):
    """Refuse a node that cannot be reached, does not serve the service, or keeps failing."""

    name = "availability"
    steady = True

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        """Return why the node cannot take the call, or None."""
        if not endpoint.ready:
            return f"not ready: {endpoint.reason}"
        if endpoint.version is None:
            return f"does not serve {call.service}"
        if call.version != endpoint.version:
            return f"serves version {endpoint.version}, the call needs {call.version}"
        if endpoint.circuit_open:
            return "circuit open after repeated failures"
        return None
