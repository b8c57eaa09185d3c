"""A Decision that calls of one kind share for some milliseconds, while nothing happens.

Making a Decision takes longer than all the rest of a small call. What changes from one call to
the next is how many calls each endpoint has, so each call ranks the candidates anew by that.
"""

from collections.abc import Sequence

from orchestrator.routing.endpoint import Endpoint
from policies.chain import Chain
from policies.facts import CallFacts, Candidate, Decision

SECONDS = 0.005
"""How long a Decision is shared."""

_AMPLE = 2.0
"""A call shares a Decision if it has so many times the milliseconds of the dearest candidate."""


class SharedDecision:
    """One Decision, and whether another call may use it.

    Args:
        decision: The Decision.
        chain: What made it.
        endpoints: All endpoints that it was made over.
        now: When it was made.
    """

    __slots__ = ("_candidates", "_decision", "_hurried", "_seen", "_until")

    def __init__(
        self, decision: Decision, chain: Chain, endpoints: Sequence[Endpoint], now: float
    ) -> None:
        self._decision = decision
        self._until = now + SECONDS
        self._seen = [(endpoint, endpoint.changes) for endpoint in endpoints]
        by_name = {endpoint.name: endpoint for endpoint in endpoints}
        self._hurried = any(verdict.filter == "deadline" for verdict in decision.refused)
        self._candidates = [
            (candidate, by_name[candidate.name], _one_more(chain, decision.call, candidate))
            for candidate in decision.candidates
        ]

    def ranked(self, now: float, remaining_ms: float) -> Decision | None:
        """Return it for another call of its kind, its candidates in the order of this moment.

        None if that call needs a Decision of its own: time has passed, something has happened,
        or the call is in a hurry.
        """
        if self._hurried or now >= self._until:
            return None
        for endpoint, changes in self._seen:
            if endpoint.changes != changes:
                return None
        ample_ms, decision = remaining_ms / _AMPLE, self._decision
        costs = []
        for candidate, endpoint, one_more in self._candidates:
            joined = endpoint.limiter.count - candidate.endpoint.in_flight
            costs.append(candidate.cost_ms + joined * one_more)
            if costs[-1] > ample_ms:
                return None
        return decision if len(costs) == 1 else self._reordered(costs)

    def _reordered(self, costs: list[float]) -> Decision:
        """Return the Decision with its candidates by what they cost now."""
        ranked = []
        for (candidate, endpoint, _), cost_ms in zip(self._candidates, costs, strict=True):
            joined = endpoint.limiter.count - candidate.endpoint.in_flight
            if joined:
                candidate = Candidate(candidate.endpoint, candidate.preferred, cost_ms, joined)
            ranked.append(candidate)
        ranked.sort(key=Candidate.rank)
        decision = self._decision
        if ranked[0].endpoint is decision.candidates[0].endpoint:
            return decision
        return Decision(decision.call, tuple(ranked), decision.refused, decision.terms)


def _one_more(chain: Chain, call: CallFacts, candidate: Candidate) -> float:
    """Return by how much a candidate's cost grows with one more call there."""
    busier = Candidate(candidate.endpoint, candidate.preferred, 0.0, joined=1).busy
    return chain.cost(call, busier) - candidate.cost_ms
