"""Filter: a call goes only where it is predicted to finish in time."""

from policies.base import Filter
from policies.completion import certain_ms
from policies.facts import CallFacts, EndpointFacts


class DeadlineFilter(Filter):
    """Refuse a node whose predicted completion is later than the call's deadline."""

    name = "deadline"
    steady = True

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        """Return why the node would answer too late, or None."""
        predicted = certain_ms(call, endpoint)
        if predicted <= call.remaining_ms:
            return None
        return f"predicted {predicted:,.0f} ms, {call.remaining_ms:,.0f} ms left"
