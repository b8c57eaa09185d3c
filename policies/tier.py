"""Filter: a call stays on the tiers that its decorator or its options name."""

from policies.base import Filter
from policies.facts import CallFacts, EndpointFacts


class TierFilter(Filter):
    """Refuse a node of a tier that the service did not open itself to."""

    name = "tier"
    steady = True

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        """Return why the node's tier is closed to the call, or None."""
        if call.placement.allows(endpoint.tier):
            return None
        return f"the call stays on the {call.placement.home}"
