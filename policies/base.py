"""What a rule is: a Filter refuses with a reason, a Scorer names a cost in milliseconds."""

from collections.abc import Mapping
from typing import Protocol

from policies.facts import CallFacts, EndpointFacts, Terms


class Filter(Protocol):
    """A hard rule: may this call go there at all?

    Attributes:
        name: What decisions and settings call it.
        steady: Whether calls of one kind that are made within some milliseconds, with payloads of
            about one size and ample time, may share one verdict. A rule that does not say so is
            asked for every call; a subclass says it anew.
    """

    name: str

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        """Return why the call may not go there, in words, or None if it may."""


class Scorer(Protocol):
    """A soft rule: what does going there cost, in milliseconds?

    Attributes:
        name: What decisions and settings call it.
        steady: Whether such calls may share one cost, which grows by the same amount with each
            call that a node has, or not at all; see `Filter`.
    """

    name: str

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        """Return the cost in milliseconds; the chain adds up the costs of all scorers."""

    def terms(self, call: CallFacts, endpoint: EndpointFacts) -> Mapping[str, float]:
        """Return the same cost term by term, for people who check the sum by hand."""
        return {self.name: self.cost(call, endpoint)}


def terms_of(scorer: Scorer) -> Terms:
    """Return a scorer's cost term by term, even if its class only looks like a Scorer."""
    own: Terms | None = getattr(scorer, "terms", None)
    return own or (lambda call, endpoint: {scorer.name: scorer.cost(call, endpoint)})
