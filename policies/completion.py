"""Scorer: the predicted time to completion, the currency of every other rule.

The least expected completion: round trip + transfer + queue + service, from what replies
taught the caller. Counting the calls ahead from the node's own reports follows C3
(Suresh et al., NSDI 2015).
"""

from collections.abc import Mapping

from policies.base import Scorer
from policies.facts import CallFacts, EndpointFacts

_UNKNOWN_MS = 5.0
"""What a call ahead counts until a reply has told, so that a new node is not flooded."""


def predicted_ms(call: CallFacts, endpoint: EndpointFacts) -> float:
    """Return the predicted time from sending the call to its answer, in milliseconds."""
    transfer = call.payload_bytes / endpoint.bytes_per_ms
    return endpoint.round_trip_ms + transfer + _queue_ms(endpoint) + endpoint.service_ms


def certain_ms(call: CallFacts, endpoint: EndpointFacts) -> float:
    """Return the part of the prediction that rests on what replies have told.

    Without them the queue is a guess: good enough to prefer a node, not to refuse one.
    """
    if endpoint.delay_ms is None:
        return predicted_ms(call, endpoint) - _queue_ms(endpoint)
    return predicted_ms(call, endpoint)


def _queue_ms(endpoint: EndpointFacts) -> float:
    # The node's report is older than the caller's own count: the larger is nearer the truth.
    ahead = max(endpoint.in_flight, endpoint.waiting)
    if endpoint.delay_ms is not None:
        return ahead * endpoint.delay_ms
    return ahead * (endpoint.service_ms or _UNKNOWN_MS) / endpoint.parallelism


class CompletionScorer(Scorer):
    """Cost: the predicted time to completion."""

    name = "completion"
    steady = True

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        """Return the predicted time to completion in milliseconds."""
        return predicted_ms(call, endpoint)

    def terms(self, call: CallFacts, endpoint: EndpointFacts) -> Mapping[str, float]:
        """Return round trip, transfer, queue and service, in milliseconds."""
        return {
            "round trip": endpoint.round_trip_ms,
            "transfer": call.payload_bytes / endpoint.bytes_per_ms,
            "queue": _queue_ms(endpoint),
            "service": endpoint.service_ms,
        }
