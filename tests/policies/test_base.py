from policies.base import Scorer
from policies.chain import Chain
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Level, Placement


class Flat(Scorer):
    """A user's scorer that says its cost and nothing more."""

    name = "flat fee"

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        return 3.5


def test_a_scorer_that_names_no_terms_is_one_term_itself() -> None:
    call = CallFacts("embed", "v1", Label(), Placement("edge"), 10, 1000.0)
    node = EndpointFacts("edge-1", "edge", Clearance(Level.SECRET))
    decision = Chain([], [Flat()]).decide(call, [node])
    head, row = decision.explain().splitlines()[1:]
    assert head.rstrip().endswith("flat fee")
    assert row.split()[-3:] == ["3.50", "=", "3.50"]
