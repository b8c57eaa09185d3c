import random
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import NoRoute, PrivacyRefused, ServiceFailed
from orchestrator.core.labels import Secret
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.serving.local import LocalCaller
from orchestrator.testing import ManualClock
from policies.facts import Clearance, Label, Level

MakeCall = Callable[..., Call]
SECRET = Label(Level.SECRET)


@edge_service
async def near(text: Secret[str]) -> Secret[str]:
    return text


@edge_service
async def ask_near(text: Secret[str]) -> Secret[str]:
    result = await near.call(text)
    assert (result.node, result.tier, result.attempts) == ("node-1", "edge", ("node-1",))
    return result.value


@cloud_service
async def far() -> int:
    return 1


@edge_service
async def ask_far() -> int:
    return await far()


async def test_a_body_calls_services_of_its_own_node(node_with: Any, call_of: MakeCall) -> None:
    async with node_with(near, ask_near) as node:
        reply = await node.handle(call_of(ask_near, SECRET, text=Secret("x")))
        assert reply.value.reveal("a test") == "x"


async def test_a_service_of_the_other_tier_is_no_route_with_the_cure(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(ask_far) as node:
        with pytest.raises(NoRoute, match="start it with --app module:attribute") as caught:
            await LocalCaller(node).invoke(call_of(far))
        assert caught.value.shareable
        with pytest.raises(ServiceFailed, match=r"NoRoute in ask_far: far runs on the cloud"):
            await node.handle(call_of(ask_far))


async def test_the_guard_stands_before_a_nodes_own_calls_too(
    node_with: Any, call_of: MakeCall
) -> None:
    call = call_of(near, SECRET, text=Secret("x"))
    async with node_with(near) as node:
        assert (await LocalCaller(node).invoke(call)).label == SECRET
    async with node_with(near, clearance=Clearance(Level.INTERNAL)) as node:
        with pytest.raises(PrivacyRefused, match="label secret of the call is above"):
            await LocalCaller(node).invoke(call)


async def test_the_result_tells_how_the_call_came_about(node_with: Any, call_of: MakeCall) -> None:
    clock = ManualClock()
    async with node_with(near, clock=clock) as node:
        call = call_of(near, SECRET, clock=clock, text=Secret("x"))
        result = await LocalCaller(node, clock, random.Random(1)).invoke(call)
    assert (result.call_id, result.total_ms) == (call.id, 0)
    assert [candidate.name for candidate in result.decision.candidates] == ["node-1"]


@cloud_service(privacy="local")
async def stay(text: Secret[str]) -> Secret[str]:
    return text


@edge_service
async def ask_to_stay(text: Secret[str]) -> Secret[str]:
    return await stay(text)


async def test_a_labelled_call_that_stays_at_the_edge_runs_on_this_node(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(stay, ask_to_stay) as node:
        reply = await node.handle(call_of(ask_to_stay, SECRET, text=Secret("x")))
        assert reply.value.reveal("a test") == "x"
        with pytest.raises(NoRoute):
            await LocalCaller(node).invoke(call_of(stay, text=Secret("x")))
