import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import NoRoute, PrivacyRefused
from orchestrator.core.report import NodeReport
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.router import Router
from policies.catalog import build_chain
from policies.facts import Clearance, Label, Level, Placement, Tier

MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]
MakeReport = Callable[..., NodeReport]
SENSITIVE = Label(Level.SENSITIVE, frozenset({"pii"}))


@asynccontextmanager
async def router_over(
    endpoints: Sequence[Endpoint], missing: dict[Tier, str] | None = None
) -> AsyncIterator[Router]:
    directory = Directory(random.Random(7))
    for endpoint in endpoints:
        directory.add(endpoint)
    yield Router(directory, build_chain(), missing)
    await directory.aclose()


async def test_a_decision_is_made_of_the_facts_of_this_moment(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge, cloud = make_endpoint("edge-1", "edge"), make_endpoint("cloud-1", "cloud")
    async with router_over([edge, cloud]) as router:
        assert len(router.decide(make_call(), 10).candidates) == 2
        edge.saw_down("it is gone")
        decision = router.decide(make_call(), 10)
        assert [candidate.name for candidate in decision.candidates] == ["cloud-1"]
        assert decision.refused[0].reason == "not ready: it is gone"


async def test_the_calls_time_and_size_are_what_the_filters_see(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    async with router_over([make_endpoint()]) as router:
        with pytest.raises(NoRoute, match="2 ms left"):
            router.decide(make_call(seconds=0.002), 10)  # the node reports 5 ms of work
        with pytest.raises(NoRoute, match="by deadline"):
            router.decide(make_call(seconds=1.0), 100_000_000)


async def test_privacy_alone_is_a_refusal_of_its_own(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    cloud = make_endpoint("cloud-1", "cloud", clearance=Clearance(Level.INTERNAL))
    async with router_over([cloud]) as router:
        with pytest.raises(PrivacyRefused) as caught:
            router.decide(make_call(SENSITIVE), 10)
    assert "label sensitive{pii} is above clearance internal" in str(caught.value)
    assert not caught.value.retryable
    assert caught.value.decision
    assert caught.value.decision.refused[0].filter == "privacy"


async def test_privacy_and_something_else_is_no_route_with_all_reasons(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge = make_endpoint("edge-1", "edge")
    edge.saw_down("it is gone")
    cloud = make_endpoint("cloud-1", "cloud", clearance=Clearance(Level.INTERNAL))
    async with router_over([edge, cloud]) as router:
        with pytest.raises(NoRoute) as caught:
            router.decide(make_call(SENSITIVE), 10)
    assert not isinstance(caught.value, PrivacyRefused)
    assert caught.value.retryable
    assert "edge-1 (edge) by availability: not ready: it is gone" in str(caught.value)
    assert "cloud-1 (cloud) by privacy" in str(caught.value)


async def test_a_forbidden_node_that_is_down_as_well_is_still_forbidden(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    cloud = make_endpoint("cloud-1", "cloud", clearance=Clearance(Level.INTERNAL))
    cloud.saw_down("it is gone")
    async with router_over([cloud]) as router:
        with pytest.raises(PrivacyRefused, match="it is gone"):
            router.decide(make_call(SENSITIVE), 10)


async def test_nodes_of_a_closed_tier_do_not_count_in_that_question(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    edge = make_endpoint("edge-1", "edge")
    cloud = make_endpoint("cloud-1", "cloud", clearance=Clearance(Level.INTERNAL))
    async with router_over([edge, cloud]) as router:
        with pytest.raises(PrivacyRefused):
            router.decide(make_call(SENSITIVE, placement=Placement("cloud")), 10)
        with pytest.raises(NoRoute) as caught:
            router.decide(make_call(SENSITIVE, placement=Placement("cloud", "overflow")), 10**12)
    assert not isinstance(caught.value, PrivacyRefused)


async def test_without_any_node_the_way_to_get_one_is_said(make_call: MakeCall) -> None:
    missing: dict[Tier, str] = {"edge": "pip install edge", "cloud": "pip install cloud"}
    async with router_over([], missing) as router:
        with pytest.raises(NoRoute, match="pip install edge") as caught:
            router.decide(make_call(SENSITIVE, placement=Placement("edge")), 10)
    assert not isinstance(caught.value, PrivacyRefused)
    assert "pip install cloud" not in str(caught.value)


async def test_the_payload_stands_in_no_refusal(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    cloud = make_endpoint("cloud-1", "cloud", clearance=Clearance())
    async with router_over([cloud]) as router:
        with pytest.raises(PrivacyRefused) as caught:
            router.decide(make_call(SENSITIVE, text="alice@example.com"), 10)
    assert "alice" not in f"{caught.value!r}{caught.value}{caught.value.decision!r}"


async def test_an_endpoint_that_has_left_is_not_given_any_more(
    make_endpoint: MakeEndpoint,
) -> None:
    async with router_over([make_endpoint()]) as router:
        assert router.endpoint("edge-1")
        assert router.endpoint("edge-2") is None
