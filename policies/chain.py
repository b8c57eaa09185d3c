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
            judged = self._judged(call, endpoint)
            if isinstance(judged, Candidate):
                candidates.append(judged)
            else:
                refused.append(judged)
        candidates.sort(key=Candidate.rank)
        return Decision(call, tuple(candidates), tuple(refused), self._terms)

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        """Return what all scorers together say of an endpoint, in milliseconds."""
        return sum(scorer.cost(call, endpoint) for scorer in self.scorers)

    def _judged(self, call: CallFacts, endpoint: EndpointFacts) -> Candidate | Verdict:
        """Return an endpoint that passed with its cost, or the refusal of a scorer that failed."""
        cost = 0.0
        for scorer in self.scorers:
            try:
                cost += scorer.cost(call, endpoint)
            except Exception as error:
                return _unreadable(endpoint, f"the scorer {scorer.name}", error)
        return Candidate(endpoint, call.placement.prefers(endpoint.tier), cost)

    def _verdicts(self, call: CallFacts, endpoint: EndpointFacts) -> list[Verdict]:
        """Return every refusal; of a tier that is closed nothing more needs to be said."""
        verdicts: list[Verdict] = []
        for rule in self.filters:
            try:
                reason = rule.refuse(call, endpoint)
            except Exception as error:
                verdicts.append(_unreadable(endpoint, f"the filter {rule.name}", error))
                continue
            if reason is not None:
                verdicts.append(Verdict(endpoint.name, endpoint.tier, rule.name, reason))
                if rule.name == TierFilter.name:
                    break
        return verdicts


def _unreadable(endpoint: EndpointFacts, rule: str, error: Exception) -> Verdict:
    """Return the refusal of a rule that raised: nobody knows whether the data may go there.

    The words of the error stay here, for they may hold what the rule saw.
    """
    said = f"{rule} failed with {type(error).__name__}, and a rule that fails lets nothing pass"
    return Verdict(endpoint.name, endpoint.tier, PrivacyFilter.name, said)
