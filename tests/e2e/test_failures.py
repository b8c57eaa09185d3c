"""Nodes that die, hang, or are not there: what callers see of it."""

import asyncio
import signal
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import Internal, Orchestrator, Sensitive
from orchestrator.core.errors import CallError, EndpointUnavailable, NoRoute, OutcomeUnknown

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until


@pytest.fixture
def edge(start: "Start") -> "Daemon":
    return start("edge")


@pytest.fixture
def cloud(start: "Start") -> "Daemon":
    return start("cloud")


async def in_flight(
    service: Any, count: int, cloud: "Daemon", until: "Until", seconds: float = 0.5
) -> list[Any]:
    """Kill the cloud node while it has so many calls, and return what became of them."""
    tasks = [asyncio.create_task(service.aio.call(seconds)) for _ in range(count)]
    await until(lambda: cloud.metric("isthmus_requests_in_progress") == count)
    cloud.kill()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def failure(service: Any, *arguments: Any) -> Exception:
    """Return what a call raises."""
    with pytest.raises(CallError) as caught:
        await service.aio(*arguments)
    return caught.value


async def test_idempotent_calls_go_on_at_the_edge_when_the_cloud_is_killed(
    edge: "Daemon", cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop") as orchestrator:
        assert (await shop.forecast.aio.call(0.0)).node == "cloud-1"
        results = await in_flight(shop.forecast, 8, cloud, until)
        later = await shop.forecast.aio.call(0.0)
        assert orchestrator.problems["cloud-1"].endswith("went away during the call")
    assert [r.attempts for r in results] == [("cloud-1", "edge-1")] * 8
    assert {r.value for r in results} == {edge.process.pid}
    assert later.attempts == ("edge-1",)  # no call tries the dead node any more


async def test_a_call_that_must_not_run_twice_says_that_its_outcome_is_unknown(
    edge: "Daemon", cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        outcomes = await in_flight(shop.charge, 8, cloud, until)
        later = await shop.charge.aio.call(0.0)
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}
    assert "charge may have run" in str(outcomes[0])
    assert later.node == "edge-1"
    assert edge.metric('isthmus_requests_total{code="OK",service="charge"}') == 1


async def test_no_idempotent_call_of_a_full_map_is_lost_when_the_cloud_is_killed(
    edge: "Daemon", cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        results = await in_flight(shop.think, 64, cloud, until, seconds=2.0)
    assert [r for r in results if isinstance(r, Exception)] == []


async def test_traffic_returns_to_the_cloud_after_a_restart(
    edge: "Daemon", cloud: "Daemon", shop: ModuleType, until: "Until", start: "Start"
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop") as orchestrator:
        await in_flight(shop.forecast, 4, cloud, until, seconds=0.2)
        assert (await shop.forecast.aio.call(0.0)).node == "edge-1"
        again = await asyncio.to_thread(start, "cloud", port=cloud.port)
        await until(lambda: not orchestrator.problems["cloud-1"], "return")
        back = await shop.forecast.aio.call(0.0)
    assert (back.node, back.value) == ("cloud-1", again.process.pid)


async def test_a_frozen_node_is_left_alone_within_seconds_and_taken_back_when_it_thaws(
    edge: "Daemon", cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop") as orchestrator:
        inside = asyncio.create_task(shop.think.call(1.0))
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 1)
        cloud.signal(signal.SIGSTOP)
        await until(lambda: orchestrator.problems["cloud-1"], "ejection", 8)
        assert (await shop.charge.aio.call(0.0)).attempts == ("edge-1",)
        moved = await asyncio.wait_for(inside, 15)  # its deadline is far away
        assert moved.attempts == ("cloud-1", "edge-1")
        cloud.signal(signal.SIGCONT)
        await until(lambda: not orchestrator.problems["cloud-1"], "return", 20)
        assert (await shop.charge.aio.call(0.0)).node == "cloud-1"


async def test_a_call_to_nobody_names_the_address_and_the_cure(shop: ModuleType) -> None:
    entry = {"name": "cloud-1", "tier": "cloud", "address": "127.0.0.1:1", "insecure": True}
    async with Orchestrator({"nodes": [entry]}, app=[shop.charge]) as orchestrator:
        with pytest.raises(NoRoute) as caught:
            await shop.charge.aio(0.0)
        assert "127.0.0.1:1" in orchestrator.problems["cloud-1"]
    assert "no connection to 127.0.0.1:1: is the node running there" in str(caught.value)
    assert "This side uses plaintext" in str(caught.value)
    assert caught.value.retryable


async def test_an_orchestrator_opens_while_its_nodes_are_still_away_and_finds_them_later(
    start: "Start", cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    cloud.kill()
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop") as orchestrator:
        await asyncio.to_thread(start, "cloud", port=cloud.port)
        await until(lambda: not orchestrator.problems["cloud-1"], "return")
        assert (await shop.charge.aio.call(0.0)).node == "cloud-1"


async def test_private_calls_never_flee_to_the_cloud_when_the_edge_dies(
    edge: "Daemon", cloud: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        assert (await shop.weigh.aio.call(Sensitive("Ada"))).node == "edge-1"
        edge.kill()
        errors = [await failure(shop.weigh, Sensitive("Ada")) for _ in range(5)]
        control = await shop.weigh.aio.call(Internal("Ada"))
    assert {type(error) for error in errors} <= {EndpointUnavailable, NoRoute}
    assert "cloud-1 (cloud) by privacy" in str(errors[-1])
    assert control.node == "cloud-1"
    assert cloud.metric('isthmus_requests_total{code="OK",service="weigh"}') == 1


async def test_a_caller_who_leaves_frees_the_place_at_the_node(
    cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        tasks = [asyncio.create_task(shop.think(60.0)) for _ in range(20)]
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 20)
        for task in tasks:
            task.cancel()
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 0, "empty node")
        assert cloud.metric('isthmus_requests_total{code="CANCELLED",service="think"}') == 20
        assert (await shop.think.call(0.0)).node == "cloud-1"
