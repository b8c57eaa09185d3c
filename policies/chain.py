"""All filters, then the sum of the scorers: the Decision."""

from collections.abc import Iterable, Sequence

from policies.base import Filter, Scorer, terms_of
from policies.facts import CallFacts, Candidate, Decision, EndpointFacts, Verdict
from policies.privacy import PrivacyFilter
from policies.tier import TierFilter


class Chain:
    """Filters and scorers in their order; the same facts always give the same Decision.

    The tier and privacy filters are promises to the user, so no configuration can leave
    them out.

    Args:
        filters: Hard rules; an endpoint must pass all of them.
        scorers: Soft rules; their costs are added up.
    """

    def __init__(self, filters: Iterable[Filter], scorers: Sequence[Scorer]) -> None:
        promises: tuple[Filter, ...] = (TierFilter(), PrivacyFilter())
        names = {promise.name for promise in promises}
        self.filters = (*promises, *(rule for rule in filters if rule.name not in names))
        self.scorers = tuple(scorers)
        self._terms = tuple(terms_of(scorer) for scorer in self.scorers)
        rules = (*self.filters, *self.scorers)
        # A subclass says it for itself: what it has changed may not be.
        self.steady = all(vars(type(rule)).get("steady", False) for rule in rules)

    def decide(self, call: CallFacts, endpoints: Iterable[EndpointFacts]) -> Decision:
        """Return the endpoints the call may use, best first, and every refusal."""
        candidates: list[Candidate] = []
        refused: list[Verdict] = []
        for endpoint in endpoints:
            verdicts = self._verdicts(call, endpoint)
            if verdicts:
                refused += verdicts
                continue
            cost = self.cost(call, endpoint)
            candidates.append(Candidate(endpoint, call.placement.prefers(endpoint.tier), cost))
        candidates.sort(key=Candidate.rank)
        return Decision(call, tuple(candidates), tuple(refused), self._terms)

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        """Return what all scorers together say of an endpoint, in milliseconds."""
        return sum(scorer.cost(call, endpoint) for scorer in self.scorers)

    def _verdicts(self, call: CallFacts, endpoint: EndpointFacts) -> list[Verdict]:
        """Return every refusal; of a tier that is closed nothing more needs to be said."""
        verdicts: list[Verdict] = []
        for rule in self.filters:
            if (reason := rule.refuse(call, endpoint)) is not None:
                verdicts.append(Verdict(endpoint.name, endpoint.tier, rule.name, reason))
                if rule.name == TierFilter.name:
                    break
        return verdicts
