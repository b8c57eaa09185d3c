"""A Decision that calls of one kind share for some milliseconds, while nothing happens.

Making a Decision takes longer than all the rest of a small call. What changes from one call to
the next is how many calls each endpoint has, so each call ranks the candidates anew by that.
"""

import math
from collections.abc import Sequence

from orchestrator.routing.endpoint import Endpoint
from policies.chain import Chain
from policies.facts import CallFacts, Candidate, Decision

SECONDS = 0.005
"""How long a Decision is shared."""

_AMPLE = 2.0
"""A call shares a Decision if it has so many times longer than the dearest candidate needs."""


class SharedDecision:
    """One Decision, and whether another call may use it.

    Args:
        decision: The Decision.
        chain: What made it.
        endpoints: All endpoints that it was made over.
        now: When it was made.
    """

    __slots__ = ("_ample_ms", "_candidates", "_decision", "_seen", "_until")

    def __init__(
        self, decision: Decision, chain: Chain, endpoints: Sequence[Endpoint], now: float
    ) -> None:
        self._decision = decision
        self._until = now + SECONDS
        self._seen = [(endpoint, endpoint.changes) for endpoint in endpoints]
        by_name = {endpoint.name: endpoint for endpoint in endpoints}
        costs = [candidate.cost_ms for candidate in decision.candidates]
        hurried = any(verdict.filter == "deadline" for verdict in decision.refused)
        self._ample_ms = math.inf if hurried or not costs else _AMPLE * max(costs)
        self._candidates = [
            (candidate, by_name[candidate.name], _one_more(chain, decision.call, candidate))
            for candidate in decision.candidates
        ]

    def holds(self, now: float, remaining_ms: float) -> bool:
        """Say whether a call of the same kind may use it."""
        if now >= self._until or remaining_ms < self._ample_ms:
            return False
        for endpoint, changes in self._seen:  # noqa: SIM110  a generator would take longer
            if endpoint.changes != changes:
                return False
        return True

    def ranked(self) -> Decision:
        """Return the Decision with its candidates in the order of this moment."""
        if len(self._candidates) == 1:
            return self._decision
        ranked = []
        for candidate, endpoint, one_more in self._candidates:
            joined = endpoint.limiter.count - candidate.endpoint.in_flight
            if joined:
                cost_ms = candidate.cost_ms + joined * one_more
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
