"""Filter: a call goes only where its label is covered by the clearance."""

from policies.base import Filter
from policies.facts import CallFacts, EndpointFacts


class PrivacyFilter(Filter):
    """Refuse a node whose clearance does not cover the call's label."""

    name = "privacy"
    steady = True

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        """Return why the node may not see the data, or None."""
        if endpoint.clearance.covers(call.label):
            return None
        return f"label {call.label} is above clearance {endpoint.clearance}"
