"""Nodes of an older and a newer version of the app, side by side."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import grpc
import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import NoRoute
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start


@pytest.fixture(scope="module")
def old(start_shared: "Start") -> "Daemon":
    return start_shared("edge", app="prices_old")


@pytest.fixture(scope="module")
def new(start_shared: "Start") -> "Daemon":
    return start_shared("edge", app="prices_new")


@pytest.fixture
def prices(apps: None) -> ModuleType:
    """What the caller has: the newer version."""
    return import_module("prices_new")


async def test_a_call_goes_round_the_node_with_the_other_version_and_tells_why(
    old: "Daemon", new: "Daemon", prices: ModuleType
) -> None:
    nodes = [old.entry(name="old"), new.entry(name="new")]
    async with Orchestrator({"nodes": nodes}, app="prices_new"):
        results = [await prices.price.aio.call(1.5) for _ in range(5)]
    assert {(r.node, r.value, r.attempts) for r in results} == {("new", 3.0, ("new",))}
    version = prices.price.spec.version
    assert f"the call needs {version}" in results[0].decision.explain()


async def test_a_service_that_did_not_change_goes_to_nodes_of_both_versions(
    old: "Daemon", prices: ModuleType
) -> None:
    async with Orchestrator({"nodes": [old.entry(name="old")]}, app="prices_new"):
        assert (await prices.tax.aio.call(100)).value == 20


async def test_with_only_the_other_version_there_the_call_says_so_and_is_not_sent(
    old: "Daemon", prices: ModuleType
) -> None:
    async with Orchestrator({"nodes": [old.entry(name="old")]}, app="prices_new"):
        with pytest.raises(NoRoute, match=r"old .edge. by availability: serves version") as caught:
            await prices.price.aio(1.5)
    assert caught.value.retryable  # an update may be under way
    assert old.metric('isthmus_requests_total{code="NO_ROUTE",service="price"}') == 0


async def test_the_node_itself_refuses_a_call_of_another_version(old: "Daemon") -> None:
    request = pb.InvokeRequest(
        service="price",
        version="000000000000",
        label=pb.Label(level=pb.LEVEL_PUBLIC),
        arguments=pb.Payload(json='{"grams": 1}'),
    )
    async with grpc.aio.insecure_channel(old.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await NodeStub(channel).Invoke(request, timeout=5)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert old.metric('isthmus_requests_total{code="NO_ROUTE",service="price"}') == 1
