"""The four calls that must come out right, over real nodes; the fourth, cloud gone, is in
test_failures."""

import asyncio
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from orchestrator import Internal, Orchestrator, Sensitive
from orchestrator.core.errors import NoRoute, PrivacyRefused

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Distant, Start, Until

Pair = tuple["Daemon", "Daemon"]


@pytest.fixture(scope="module")
def pair(start_shared: "Start") -> Pair:
    return start_shared("edge"), start_shared("cloud")


async def test_a_small_public_call_stays_on_a_free_edge(
    pair: Pair, shop: ModuleType, distant: "Distant"
) -> None:
    edge, cloud = pair
    async with distant(cloud.address, 0.03) as far:
        nodes = [edge.entry(), cloud.entry(address=far)]
        async with Orchestrator({"nodes": nodes}, app="shop"):
            results = [await shop.add.aio.call(1, n) for n in range(10)]
    assert {(r.node, r.attempts) for r in results} == {("edge-1", ("edge-1",))}
    assert [r.value for r in results] == list(range(1, 11))
    assert "2. cloud-1" in results[-1].decision.explain()


async def test_the_same_call_goes_to_the_cloud_where_the_edge_is_the_distant_one(
    pair: Pair, shop: ModuleType, distant: "Distant"
) -> None:
    edge, cloud = pair
    async with distant(edge.address, 0.03) as far:
        nodes = [edge.entry(address=far), cloud.entry()]
        async with Orchestrator({"nodes": nodes}, app="shop"):
            results = [await shop.add.aio.call(1, n) for n in range(10)]
    assert {r.node for r in results} == {"cloud-1"}


async def test_a_public_call_goes_to_the_cloud_once_a_reply_has_taught_that_it_is_faster(
    pair: Pair, shop: ModuleType, distant: "Distant"
) -> None:
    edge, cloud = pair
    async with distant(cloud.address, 0.02) as far:
        nodes = [edge.entry(), cloud.entry(address=far)]
        async with Orchestrator({"nodes": nodes}, app="shop"):
            chosen = [(await shop.quote.aio.call("lamp")).node for _ in range(6)]
    assert chosen[0] == "edge-1"
    assert set(chosen[1:]) == {"cloud-1"}


async def test_a_public_call_goes_to_the_cloud_while_other_callers_keep_the_edge_busy(
    pair: Pair, shop: ModuleType, distant: "Distant", until: "Until"
) -> None:
    edge, cloud = pair
    others = Orchestrator({"nodes": [edge.entry()]}, app="shop")
    async with distant(cloud.address, 0.05) as far, others:
        crowded = shop.bake.options(tier="edge")
        await crowded.aio(0.1)
        async with Orchestrator({"nodes": [edge.entry(), cloud.entry(address=far)]}, app="shop"):
            before = await shop.bake.aio.call(0.1)
            crowd = [asyncio.create_task(crowded.aio(0.3)) for _ in range(32)]
            await until(lambda: edge.metric("isthmus_requests_in_progress") == 32)
            await asyncio.sleep(1.0)  # two reports of the node
            during = await shop.bake.aio.call(0.1)
            await asyncio.gather(*crowd)
    assert (before.node, during.node) == ("edge-1", "cloud-1")


async def test_a_label_above_the_clouds_clearance_keeps_a_call_at_a_slow_edge(
    pair: Pair, shop: ModuleType, distant: "Distant"
) -> None:
    edge, cloud = pair
    async with distant(edge.address, 0.05) as far:
        nodes = [edge.entry(address=far), cloud.entry()]
        async with Orchestrator({"nodes": nodes}, app="shop"):
            private = await shop.weigh.aio.call(Sensitive("Ada Adler", "pii"))
            control = await shop.weigh.aio.call(Internal("Ada Adler", "pii"))
    assert private.node == "edge-1"
    assert str(private.label) == "sensitive{pii}"
    assert "above clearance internal" in private.decision.explain()
    assert control.node == "cloud-1"


async def test_a_label_above_the_clouds_clearance_is_refused_where_there_is_no_edge_to_go_to(
    pair: Pair, shop: ModuleType
) -> None:
    edge, cloud = pair
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        with pytest.raises(PrivacyRefused, match=r"cloud-1.*above clearance internal") as caught:
            await shop.archive.aio(Sensitive("Ada Adler", "pii"))
        await shop.archive.aio(Internal("kettle"))
    assert caught.value.decision
    assert cloud.metric('isthmus_requests_total{code="OK",service="archive"}') == 1
    assert cloud.metric('isthmus_requests_total{code="PRIVACY_REFUSED",service="archive"}') == 0


async def test_a_node_refuses_what_its_own_clearance_does_not_cover_whatever_the_caller_thinks(
    pair: Pair, shop: ModuleType
) -> None:
    _, cloud = pair
    # The settings are too generous: the node's own word narrows them.
    async with Orchestrator({"nodes": [cloud.entry(clearance="secret")]}, app="shop"):
        with pytest.raises(PrivacyRefused, match="above clearance internal"):
            await shop.archive.aio(Sensitive("Ada Adler", "pii"))


async def test_one_lying_word_of_a_node_opens_nothing(start: "Start", shop: ModuleType) -> None:
    generous = start("cloud", "--clearance", "secret")
    async with Orchestrator({"nodes": [generous.entry()]}, app="shop"):
        with pytest.raises(PrivacyRefused, match="above clearance internal"):
            await shop.archive.aio(Sensitive("Ada Adler", "pii"))
    async with Orchestrator({"nodes": [generous.entry(clearance="secret")]}, app="shop"):
        assert (await shop.archive.aio.call(Sensitive("Ada Adler", "pii"))).node == "cloud-1"


async def test_a_node_on_the_wrong_tier_gets_nothing(pair: Pair, shop: ModuleType) -> None:
    _, cloud = pair
    wrong = cloud.entry(tier="edge", clearance="secret")
    async with Orchestrator({"nodes": [wrong]}, app="shop") as orchestrator:
        with pytest.raises(NoRoute, match="it is a node of tier cloud"):
            await shop.add.aio(1, 2)
        assert "tier cloud" in orchestrator.problems["cloud-1"]
