from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.base import Filter, Scorer
from policies.catalog import DEFAULT_FILTERS, DEFAULT_SCORERS, build_chain
from policies.chain import Chain
from policies.facts import (
    CallFacts,
    Clearance,
    Decision,
    EndpointFacts,
    Label,
    Level,
    Placement,
    Tier,
)

levels = st.sampled_from(Level)
names = st.frozensets(st.sampled_from(["pii", "phi"]))
labels = st.builds(Label, levels, names)
clearances = st.builds(Clearance, levels, st.none() | names)
tiers = st.sampled_from(["edge", "cloud"])
placements = st.builds(Placement, tiers, st.sampled_from(["home", "overflow", "fallback"]))
times = st.floats(0, 1e4)
calls = st.builds(
    CallFacts, st.just("embed"), st.just("v1"), labels, placements, st.integers(0, 10**8), times
)
endpoints = st.lists(
    st.builds(
        EndpointFacts,
        name=st.uuids().map(str),
        tier=tiers,
        clearance=clearances,
        ready=st.booleans(),
        version=st.sampled_from(["v1", "v2", None]),
        circuit_open=st.booleans(),
        in_flight=st.integers(0, 2000),
        waiting=st.integers(0, 2000),
        parallelism=st.integers(1, 8),
        round_trip_ms=times,
        service_ms=times,
        dollars_per_hour=st.floats(0, 100),
    ),
    max_size=6,
)


class NoPrivacy(Chain):
    """The positive control: the same chain with its promises taken out."""

    def __init__(self, filters: Sequence[Filter], scorers: Sequence[Scorer]) -> None:
        super().__init__(filters, scorers)
        self.filters = tuple(rule for rule in filters if rule.name not in ("privacy", "tier"))


def leaks(decision: Decision) -> list[str]:
    label = decision.call.label
    return [c.name for c in decision.candidates if not c.endpoint.clearance.covers(label)]


def call(label: Label | None = None, placement: Placement | None = None) -> CallFacts:
    placement = placement or Placement("cloud", "overflow")
    return CallFacts("embed", "v1", label or Label(), placement, 1000, 1000.0)


def node(name: str, tier: Tier, level: Level = Level.INTERNAL, **facts: object) -> EndpointFacts:
    known: dict[str, object] = {"version": "v1", "service_ms": 10.0, **facts}
    return EndpointFacts(name, tier, Clearance(level), **known)  # type: ignore[arg-type]


@given(calls, endpoints, st.permutations(DEFAULT_FILTERS), st.integers(0, 4))
def test_no_call_gets_a_candidate_below_its_label(
    facts: CallFacts, nodes: list[EndpointFacts], filters: list[str], kept: int
) -> None:
    decision = build_chain(filters[:kept]).decide(facts, nodes)
    assert leaks(decision) == []
    assert all(facts.placement.allows(c.endpoint.tier) for c in decision.candidates)


def test_without_the_privacy_filter_the_property_would_fail() -> None:
    secret = call(Label(Level.SECRET))
    decision = NoPrivacy([], []).decide(secret, [node("cloud-1", "cloud")])
    assert leaks(decision) == ["cloud-1"]


@given(calls, endpoints)
def test_every_endpoint_is_a_candidate_or_has_a_reason(
    facts: CallFacts, nodes: list[EndpointFacts]
) -> None:
    decision = build_chain().decide(facts, nodes)
    chosen = {candidate.name for candidate in decision.candidates}
    refused = {verdict.endpoint for verdict in decision.refused}
    assert chosen | refused == {endpoint.name for endpoint in nodes}
    assert not chosen & refused


@given(calls, endpoints)
def test_the_costs_shown_add_up_to_the_cost_decided_by(
    facts: CallFacts, nodes: list[EndpointFacts]
) -> None:
    decision = build_chain().decide(facts, nodes)
    for candidate in decision.candidates:
        parts = [ms for t in decision.terms for ms in t(facts, candidate.endpoint).values()]
        assert sum(parts) == pytest.approx(candidate.cost_ms)


@given(calls, endpoints)
def test_candidates_stand_in_order_of_preference_then_cost(
    facts: CallFacts, nodes: list[EndpointFacts]
) -> None:
    candidates = build_chain().decide(facts, nodes).candidates
    keys = [(not c.preferred, c.cost_ms) for c in candidates]
    assert keys == sorted(keys)


def test_public_and_small_goes_to_the_free_edge() -> None:
    nodes = [
        node("edge-1", "edge", Level.SECRET, round_trip_ms=0.5, service_ms=8.0),
        node("cloud-1", "cloud", round_trip_ms=40.0, service_ms=2.0),
    ]
    assert [c.name for c in build_chain().decide(call(), nodes).candidates] == ["edge-1", "cloud-1"]


def test_public_goes_to_the_cloud_when_that_is_faster() -> None:
    nodes = [
        node("edge-1", "edge", Level.SECRET, round_trip_ms=0.5, service_ms=8.0, in_flight=20),
        node("cloud-1", "cloud", round_trip_ms=40.0, service_ms=2.0),
    ]
    assert [c.name for c in build_chain().decide(call(), nodes).candidates] == ["cloud-1", "edge-1"]


def test_labelled_above_the_clouds_clearance_stays_at_the_edge() -> None:
    nodes = [
        node("edge-1", "edge", Level.SECRET, service_ms=500.0),
        node("cloud-1", "cloud", Level.INTERNAL, service_ms=1.0),
    ]
    decision = build_chain().decide(call(Label(Level.SENSITIVE)), nodes)
    assert [c.name for c in decision.candidates] == ["edge-1"]
    assert [(v.endpoint, v.filter) for v in decision.refused] == [("cloud-1", "privacy")]


def test_cloud_gone_leaves_the_edge() -> None:
    nodes = [
        node("edge-1", "edge", Level.SECRET, service_ms=500.0),
        node("cloud-1", "cloud", ready=False, reason="silent for 2 s"),
    ]
    decision = build_chain().decide(call(), nodes)
    assert [c.name for c in decision.candidates] == ["edge-1"]
    assert decision.refused[0].reason == "not ready: silent for 2 s"


def test_fallback_ranks_after_home_whatever_it_costs() -> None:
    nodes = [
        node("edge-1", "edge", Level.SECRET, service_ms=0.1),
        node("cloud-1", "cloud", service_ms=400.0),
    ]
    decision = build_chain().decide(call(placement=Placement("cloud", "fallback")), nodes)
    assert [c.name for c in decision.candidates] == ["cloud-1", "edge-1"]


def test_the_defaults_are_the_settings_names() -> None:
    chain = build_chain()
    assert [rule.name for rule in chain.filters] == [
        "tier",
        "privacy",
        *(name for name in DEFAULT_FILTERS if name != "privacy"),
    ]
    assert tuple(scorer.name for scorer in chain.scorers) == DEFAULT_SCORERS


class Breaks(Filter, Scorer):
    """A rule that fails, with what it saw in its words."""

    name = "ours"

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        raise ValueError("geheim")

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        raise KeyError("geheim")


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (Chain([Breaks()], []), "the filter ours failed with ValueError"),
        (Chain([], [Breaks()]), "the scorer ours failed with KeyError"),
    ],
)
def test_a_rule_that_fails_lets_nothing_pass_and_is_named(chain: Chain, said: str) -> None:
    call = CallFacts("embed", "v1", Label(), Placement("edge"), 0, 1e3)
    places = [EndpointFacts(tier, tier, Clearance()) for tier in ("edge", "cloud")]
    decision = chain.decide(call, places)
    assert decision.candidates == ()
    assert decision.refused_by_privacy
    assert said in decision.explain()
    assert "geheim" not in decision.explain()
