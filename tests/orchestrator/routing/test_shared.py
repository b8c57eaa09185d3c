import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.call import Call, Reply, Timings
from orchestrator.core.errors import CircuitOpen, EndpointUnavailable, NoRoute, PrivacyRefused
from orchestrator.core.report import NodeReport, ServiceReport
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.routing.router import Router
from orchestrator.routing.shared import SECONDS, SharedDecision
from orchestrator.testing import ManualClock, ScriptedChannel
from policies.base import Filter, Scorer
from policies.catalog import build_chain
from policies.chain import Chain
from policies.completion import CompletionScorer
from policies.cost import CostScorer
from policies.facts import (
    PUBLIC,
    CallFacts,
    Clearance,
    Decision,
    EndpointFacts,
    Label,
    Level,
    Placement,
)

MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]
SENSITIVE = Label(Level.SENSITIVE, frozenset({"pii"}))


class Standing(Directory):
    """A directory without probes: who is there and how they are is the test's to say."""

    def __init__(self, *endpoints: Endpoint) -> None:
        super().__init__(random.Random(7))
        self.standing = list(endpoints)

    @property
    def endpoints(self) -> list[Endpoint]:
        return self.standing


class Counted(Chain):
    """A chain that counts its decisions."""

    decided = 0

    def decide(self, call: CallFacts, endpoints: Any) -> Decision:
        self.decided += 1
        return super().decide(call, endpoints)


class Routed:
    """A router over endpoints, with all that a test may turn."""

    def __init__(self, *endpoints: Endpoint, chain: Chain | None = None) -> None:
        built = chain or build_chain()
        self.chain = Counted(built.filters, built.scorers)
        self.clock = ManualClock()
        self.directory = Standing(*endpoints)
        self.router = Router(self.directory, self.chain, clock=self.clock)

    def decide(self, call: Call, size: int = 100) -> Decision:
        return self.router.decide(call, size)

    def shares(self, call: Call, size: int = 100) -> bool:
        """Say whether a call got what was decided before."""
        before = self.chain.decided
        self.decide(call, size)
        return self.chain.decided == before


def two(make_endpoint: MakeEndpoint) -> tuple[Endpoint, Endpoint]:
    return make_endpoint("edge-1", "edge"), make_endpoint("cloud-1", "cloud")


def join(endpoint: Endpoint, count: int) -> None:
    """Let calls come to an endpoint, or leave it."""
    for _ in range(count):
        assert endpoint.limiter.enter_now()
    for _ in range(-count):
        endpoint.limiter.leave()


def names(decision: Decision) -> list[str]:
    return [candidate.name for candidate in decision.candidates]


# As good as a fresh one


nodes = st.fixed_dictionaries(
    {
        "tier": st.sampled_from(["edge", "cloud"]),
        "level": st.sampled_from(Level),
        "claims": st.sampled_from(Level),
        "ready": st.sampled_from(["ready", "ready", "ready", "draining"]),
        "parallelism": st.integers(1, 8),
        "service_ms": st.floats(0, 20),
        "dollars": st.floats(0, 50),
        "round_trip_ms": st.floats(0, 20),
        "delay_ms": st.none() | st.floats(0, 10),
        "in_flight": st.integers(0, 20),
        "joined": st.integers(-20, 40),
    }
)
placements = st.builds(
    Placement, st.sampled_from(["edge", "cloud"]), st.sampled_from(["home", "overflow", "fallback"])
)


def endpoint_of(name: str, facts: dict[str, Any]) -> Endpoint:
    service = ServiceReport("echo", "v1", "()", stream=False, service_ms=facts["service_ms"])
    claims = Clearance(facts["claims"])
    report = NodeReport(
        name, facts["tier"], facts["ready"], claims, services=(service,),
        parallelism=facts["parallelism"],
    )  # fmt: skip
    options = EndpointOptions(
        name=name, tier=facts["tier"], address="here", clearance=Clearance(facts["level"]),
        dollars_per_hour=facts["dollars"],
    )  # fmt: skip
    channel = ScriptedChannel(options.clearance, report, [])
    endpoint = Endpoint(options, channel, ManualClock())
    endpoint.saw_report(report)
    endpoint.stats.saw_reply("echo", facts["round_trip_ms"], 10, Timings(service_ms=5.0))
    if facts["delay_ms"] is not None:
        endpoint.stats.saw_queue("echo", facts["delay_ms"], 1)
    join(endpoint, facts["in_flight"])
    return endpoint


def facts_of(label: Label, placement: Placement) -> CallFacts:
    return CallFacts("echo", "v1", label, placement, 100, 30_000.0)


@given(st.lists(nodes, min_size=1, max_size=4), placements, st.sampled_from(Level))
def test_its_first_candidate_is_as_good_as_that_of_a_fresh_decision(
    planned: list[dict[str, Any]], placement: Placement, level: Level
) -> None:
    chain = build_chain()
    endpoints = [endpoint_of(f"node-{index}", facts) for index, facts in enumerate(planned)]
    facts = facts_of(Label(level), placement)

    def fresh() -> Decision:
        return chain.decide(facts, [endpoint.facts("echo") for endpoint in endpoints])

    if not (first := fresh()).candidates:
        return
    shared = SharedDecision(first, chain, endpoints, now=0.0)
    for endpoint, plan in zip(endpoints, planned, strict=True):
        join(endpoint, max(plan["joined"], -plan["in_flight"]))
    got, now = shared.ranked(0.001, 30_000.0), fresh()
    assert got is not None
    assert sorted(names(got)) == sorted(names(now))  # whatever was refused stays refused
    picked = {candidate.name: candidate for candidate in now.candidates}[names(got)[0]]
    assert picked.preferred == now.candidates[0].preferred
    assert picked.cost_ms == pytest.approx(now.candidates[0].cost_ms, rel=1e-9, abs=1e-9)
    for candidate in got.candidates:
        assert candidate.endpoint.clearance.covers(facts.label)
        assert placement.allows(candidate.endpoint.tier)


@given(st.lists(nodes, min_size=2, max_size=4))
def test_the_terms_of_a_ranked_decision_add_up_to_its_totals(planned: list[dict[str, Any]]) -> None:
    endpoints = [
        endpoint_of(f"node-{index}", {**facts, "level": 3, "claims": 3, "ready": "ready"})
        for index, facts in enumerate(planned)
    ]
    chain, facts = build_chain(), facts_of(PUBLIC, Placement("edge", "overflow"))
    decision = chain.decide(facts, [endpoint.facts("echo") for endpoint in endpoints])
    shared = SharedDecision(decision, chain, endpoints, now=0.0)
    for endpoint, plan in zip(endpoints, planned, strict=True):
        join(endpoint, max(plan["joined"], -plan["in_flight"]))
    got = shared.ranked(0.001, 30_000.0)
    assert got is not None
    rows = [line for line in got.explain().splitlines() if re.match(r"\s+\d+\. ", line)]
    assert len(rows) == len(endpoints)
    for row in rows:
        total, terms = row.split(" = ")
        parts = [float(part) for part in terms.split(" + ")]
        assert float(total.split()[-1]) == pytest.approx(sum(parts), abs=0.005 * (len(parts) + 1))


def test_it_spreads_calls_as_they_come(make_endpoint: MakeEndpoint, make_call: MakeCall) -> None:
    routed = Routed(*(endpoints := two(make_endpoint)))
    by_name = {endpoint.name: endpoint for endpoint in endpoints}
    for _ in range(40):
        join(by_name[names(routed.decide(make_call()))[0]], 1)
    assert routed.chain.decided == 1
    assert [endpoint.limiter.count for endpoint in endpoints] == [20, 20]


def test_without_ranking_all_would_go_to_one(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge, cloud = two(make_endpoint)
    decision = Routed(edge, cloud).decide(make_call())
    for _ in range(40):  # the positive control
        join({"edge-1": edge, "cloud-1": cloud}[names(decision)[0]], 1)
    assert sorted([edge.limiter.count, cloud.limiter.count]) == [0, 40]


# Who may share


def test_calls_of_one_kind_share_it_for_some_milliseconds(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    routed = Routed(*two(make_endpoint))
    assert not routed.shares(make_call())
    assert routed.shares(make_call())
    routed.clock.turn(SECONDS * 0.9)
    assert routed.shares(make_call(text="another"))
    routed.clock.turn(SECONDS * 0.2)
    assert not routed.shares(make_call())


def test_calls_of_another_label_placement_or_size_do_not_share_it(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge = make_endpoint("edge-1", "edge")
    cloud = make_endpoint("cloud-1", "cloud", clearance=Clearance(Level.INTERNAL))
    routed = Routed(edge, cloud)
    assert len(routed.decide(make_call()).candidates) == 2
    assert names(routed.decide(make_call(SENSITIVE))) == ["edge-1"]
    assert names(routed.decide(make_call(placement=Placement("cloud")))) == ["cloud-1"]
    with pytest.raises(PrivacyRefused):
        routed.decide(make_call(SENSITIVE, placement=Placement("cloud")))
    assert routed.shares(make_call())
    assert not routed.shares(make_call(), size=1000)
    assert routed.shares(make_call(), size=1023)


def test_a_refusal_is_never_shared(make_endpoint: MakeEndpoint, make_call: MakeCall) -> None:
    edge = make_endpoint("edge-1", "edge", clearance=Clearance())
    routed = Routed(edge)
    for _ in range(3):
        with pytest.raises(PrivacyRefused):
            routed.decide(make_call(SENSITIVE))
    assert routed.chain.decided == 3


def test_a_call_in_a_hurry_gets_a_decision_of_its_own(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    routed = Routed(*two(make_endpoint))  # they report 5 ms of work
    routed.decide(make_call())
    assert routed.shares(make_call(seconds=0.02))
    assert not routed.shares(make_call(seconds=0.008))
    with pytest.raises(NoRoute, match="by deadline"):
        routed.decide(make_call(seconds=0.002))


def test_what_was_decided_in_a_hurry_is_not_shared(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge, cloud = two(make_endpoint)
    cloud.stats.saw_round_trip(100.0)
    routed = Routed(edge, cloud)
    assert names(routed.decide(make_call(seconds=0.05))) == ["edge-1"]
    assert not routed.shares(make_call())
    assert len(routed.decide(make_call()).candidates) == 2


def test_calls_that_have_joined_count_in_the_time_that_a_call_needs(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge = make_endpoint("edge-1", "edge")
    edge.stats.saw_queue("echo", 5.0, 1)
    routed = Routed(edge)
    routed.decide(make_call(seconds=0.3))
    join(edge, 20)
    assert routed.shares(make_call(seconds=0.3))  # 105 of 300 ms
    join(edge, 60)
    with pytest.raises(NoRoute, match="by deadline"):  # 405 of 300 ms
        routed.decide(make_call(seconds=0.3))
    assert routed.shares(make_call(seconds=30.0))


# What ends it


@pytest.mark.parametrize("what", ["report", "down", "breaker", "failure"])
async def test_news_of_any_endpoint_end_it_at_once(
    make_endpoint: MakeEndpoint, make_call: MakeCall, what: str
) -> None:
    edge, cloud = two(make_endpoint)
    routed = Routed(edge, cloud)
    routed.decide(make_call())
    assert routed.shares(make_call())  # the positive control
    if what == "report":
        claims = Clearance(Level.PUBLIC)
        cloud.saw_report(NodeReport("cloud-1", "cloud", "ready", claims, services=()))
    elif what == "down":
        cloud.saw_down("it is gone")
    else:
        cloud.channel.script = [EndpointUnavailable("gone")] * 3  # type: ignore[attr-defined]
        for _ in range(3 if what == "breaker" else 1):
            with pytest.raises(EndpointUnavailable):
                await cloud.send(make_call(), 10)
    assert not routed.shares(make_call())
    expected = ["cloud-1", "edge-1"] if what == "failure" else ["edge-1"]
    assert sorted(names(routed.decide(make_call()))) == expected


async def test_an_answer_ends_it_not(make_endpoint: MakeEndpoint, make_call: MakeCall) -> None:
    edge, cloud = two(make_endpoint)
    routed = Routed(edge, cloud)
    routed.decide(make_call())
    cloud.channel.script = [Reply("x")]  # type: ignore[attr-defined]
    await cloud.send(make_call(), 10)
    assert routed.shares(make_call())


async def test_members_that_come_or_go_end_it_at_once(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge, cloud = two(make_endpoint)
    directory = Directory(random.Random(7))
    chain = build_chain()
    router = Router(directory, chain, clock=ManualClock())
    directory.add(edge)
    assert names(router.decide(make_call(), 10)) == ["edge-1"]
    directory.add(cloud)
    assert len(router.decide(make_call(), 10).candidates) == 2
    await directory.remove("edge-1")
    assert names(router.decide(make_call(), 10)) == ["cloud-1"]
    await directory.aclose()


async def test_while_one_trial_is_under_way_other_calls_go_elsewhere(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    clock = ManualClock()
    edge, cloud = make_endpoint("edge-1", clock=clock), make_endpoint("cloud-1", "cloud")
    cloud.stats.saw_round_trip(100.0)
    routed = Routed(edge, cloud)
    edge.channel.script = [EndpointUnavailable("gone")] * 3  # type: ignore[attr-defined]
    for _ in range(3):
        with pytest.raises(EndpointUnavailable):
            await edge.send(make_call(), 10)
    assert names(routed.decide(make_call())) == ["cloud-1"]
    clock.turn(2.0)
    routed.clock.turn(1.0)
    assert names(routed.decide(make_call())) == ["edge-1", "cloud-1"]
    assert edge.breaker.enter() is not None  # the trial
    with pytest.raises(CircuitOpen):
        await edge.send(make_call(), 10)
    assert names(routed.decide(make_call())) == ["cloud-1"]


# Rules of the user's own


class Mine(Filter):
    """A rule that says nothing of being steady."""

    name = "mine"

    def refuse(self, call: CallFacts, endpoint: EndpointFacts) -> str | None:
        return "large" if call.payload_bytes > 100 else None


class Steady(Mine):
    steady = True


class Inherited(CompletionScorer):
    """A scorer that is not steady, unlike what it was made from."""

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        return 1000.0 * (call.payload_bytes > 100)


def chain_with(*rules: Filter, scorer: Scorer | None = None) -> Chain:
    return Chain([*build_chain().filters, *rules], [scorer or CompletionScorer(), CostScorer()])


def test_rules_that_do_not_say_that_they_are_steady_are_asked_for_every_call(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    for chain, steady in (
        (chain_with(), True),
        (chain_with(Steady()), True),
        (chain_with(Mine()), False),
        (chain_with(scorer=Inherited()), False),
    ):
        routed = Routed(*two(make_endpoint), chain=chain)
        assert routed.chain.steady == steady
        routed.decide(make_call(), 99)
        assert routed.shares(make_call(), 99) == steady
    routed = Routed(*two(make_endpoint), chain=chain_with(Mine()))
    assert routed.decide(make_call(), 100).candidates
    with pytest.raises(NoRoute, match="by mine: large"):
        routed.decide(make_call(), 101)


def test_the_memory_for_kinds_of_calls_is_bounded(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    routed = Routed(*two(make_endpoint))
    for number in range(3000):
        routed.decide(make_call(Label(Level.SECRET, frozenset({str(number)}))))
    assert len(routed.router._shared) <= 1025


def test_what_a_node_said_of_its_queue_is_kept_while_calls_join(
    make_endpoint: MakeEndpoint, make_call: MakeCall, make_report: Callable[..., NodeReport]
) -> None:
    edge, cloud = two(make_endpoint)
    edge.saw_report(make_report("edge", waiting=10))
    routed = Routed(edge, cloud)
    assert names(routed.decide(make_call())) == ["cloud-1", "edge-1"]
    join(cloud, 11)
    ranked = routed.decide(make_call())
    assert names(ranked) == ["edge-1", "cloud-1"]
    assert [candidate.joined for candidate in ranked.candidates] == [0, 11]
