import pytest

from policies.base import Filter, Scorer
from policies.catalog import build_chain
from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Level, Placement

CALL = CallFacts("embed", "v1", Label(), Placement("cloud"), 0, 1000.0)
NODE = EndpointFacts("cloud-1", "cloud", Clearance(Level.SECRET), version="v1")


class Closed(Filter):
    name = "closed"

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        return "closed on Sundays"


class Fee(Scorer):
    def __init__(self, fee: float) -> None:
        self.name = "fee"
        self.fee = fee

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        return self.fee


class Duck:
    """A scorer that has what the error message asks for, and no base class."""

    name = "duck"

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        return 1.0


class Nameless:
    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        return None


fee = Fee(7.0)
number = 5


def test_a_users_own_filter_is_named_by_its_class() -> None:
    decision = build_chain([f"{__name__}:Closed"]).decide(CALL, [NODE])
    assert [verdict.reason for verdict in decision.refused] == ["closed on Sundays"]


def test_a_users_own_scorer_may_be_an_object() -> None:
    decision = build_chain([], [f"{__name__}:fee"]).decide(CALL, [NODE])
    assert [candidate.cost_ms for candidate in decision.candidates] == [7.0]


def test_the_exchange_rate_reaches_the_cost_scorer() -> None:
    node = EndpointFacts("c", "cloud", NODE.clearance, service_ms=3.6e6, dollars_per_hour=1.0)
    cost = build_chain([], ["cost"], ms_per_dollar=50.0).decide(CALL, [node]).candidates[0].cost_ms
    assert cost == pytest.approx(50.0)


def test_a_rule_in_the_wrong_list_is_unknown_there() -> None:
    with pytest.raises(LookupError, match=r"unknown rule 'cost'; known are tier, availability"):
        build_chain(["cost"])
    with pytest.raises(LookupError, match=r"unknown rule 'privacy'; known are completion, cost"):
        build_chain([], ["privacy"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("privcy", r'name your own as "package\.module:attribute"'),
        ("", "unknown rule ''"),
        ("no.such.module:Rule", r"cannot be imported: No module named 'no'"),
        ("policies.facts:Nothing", r"cannot be imported: .*Nothing"),
        ("policies.facts:", "cannot be imported"),
        (f"{__name__}:number", "needs a `name` and a method `refuse`; see policies/base.py"),
        (f"{__name__}:Nameless", "needs a `name` and a method `refuse`; see policies/base.py"),
        (f"{__name__}:fee", "needs a `name` and a method `refuse`; see policies/base.py"),
    ],
)
def test_a_name_that_is_no_filter_says_what_would_be_one(name: str, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        build_chain([name])


def test_a_class_that_needs_arguments_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match="Fee"):
        build_chain([], [f"{__name__}:Fee"])


@pytest.mark.parametrize("name", [":Rule", ".rules:Rule"])
def test_a_name_without_a_module_is_refused_by_name(name: str) -> None:
    with pytest.raises(LookupError, match="cannot be imported"):
        build_chain([name])


def test_a_scorer_that_passed_the_check_can_decide() -> None:
    chain = build_chain([], [f"{__name__}:Duck"])
    assert chain.decide(CALL, [NODE]).candidates[0].cost_ms == 1.0
