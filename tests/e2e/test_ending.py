"""SIGTERM: the node says goodbye, finishes what it has, and ends in time."""

import asyncio
import signal
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import CallError
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until


async def ended(daemon: "Daemon", seconds: float = 30) -> int:
    return await asyncio.to_thread(daemon.wait, seconds)


async def test_no_call_fails_when_a_node_is_told_to_end_under_load(
    start: "Start", shop: ModuleType
) -> None:
    edge, cloud = start("edge"), start("cloud")
    told, nodes, over = asyncio.Event(), [], False

    async def work() -> None:
        while not over:
            result = await shop.charge.aio.call(0.005)
            nodes.append((result.node, told.is_set()))

    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        workers = [asyncio.create_task(work()) for _ in range(8)]
        long = asyncio.create_task(shop.charge.aio.call(2.0))
        await asyncio.sleep(0.5)
        cloud.signal(signal.SIGTERM)
        told.set()
        code = await ended(cloud)
        over = True
        await asyncio.gather(*workers)  # charge is not idempotent: any loss would show here
        assert (await long).node == "cloud-1"
    assert code == 0
    assert ("cloud-1", False) in nodes
    assert ("edge-1", True) in nodes


async def test_health_turns_not_serving_at_once_while_calls_inside_finish(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    cloud = start("cloud")
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop") as orchestrator:
        long = asyncio.create_task(shop.charge.aio.call(2.0))
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 1)
        assert cloud.health == "SERVING"
        cloud.signal(signal.SIGTERM)
        await until(lambda: orchestrator.problems["cloud-1"] == "it is draining")
        assert cloud.health == "NOT_SERVING"
        assert cloud.page("/readyz") == (503, "draining\n")
        assert cloud.page("/livez") == (200, "alive\n")
        assert (await long).node == "cloud-1"
    assert await ended(cloud) == 0


async def test_an_idle_node_ends_with_0_soon_after_its_lame_duck_pause(start: "Start") -> None:
    edge = start("edge")
    began = time.monotonic()
    edge.signal(signal.SIGTERM)
    assert await ended(edge) == 0
    assert time.monotonic() - began < 10
    assert "is draining" in edge.output
    assert "Traceback" not in edge.output


async def test_reports_end_in_order_and_do_not_hold_the_end_of_the_node_up(
    start: "Start",
) -> None:
    edge, states = start("edge"), []
    async with grpc.aio.insecure_channel(edge.address) as channel:
        reports: Any = NodeStub(channel).Watch(pb.WatchRequest())
        states.append((await anext(aiter(reports))).state)
        edge.signal(signal.SIGTERM)
        # A cut raises here, and gRPC logs a traceback at the node.
        states += [report.state async for report in reports]
    assert await ended(edge) == 0
    assert states[0] == pb.NodeReport.STATE_READY
    assert states[-1] == pb.NodeReport.STATE_DRAINING


async def test_ctrl_c_ends_a_node_like_sigterm(start: "Start") -> None:
    edge = start("edge")
    edge.signal(signal.SIGINT)
    assert await ended(edge) == 0
    assert "KeyboardInterrupt" not in edge.output


async def told_twice(cloud: "Daemon", service: Any, until: "Until") -> float:
    """Tell a node with a long call to end, twice; return how long it took from the second."""
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        long = asyncio.create_task(service.options(deadline="60s").aio(30.0))
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 1)
        cloud.signal(signal.SIGTERM)
        await until(lambda: "is draining" in cloud.output)
        began = time.monotonic()
        cloud.signal(signal.SIGTERM)
        try:
            assert await ended(cloud, 6) == 0
        finally:
            long.cancel()
        with pytest.raises((CallError, asyncio.CancelledError)):
            await long
    return time.monotonic() - began


async def test_a_second_sigterm_ends_a_node_at_once(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    assert await told_twice(start("cloud"), shop.think, until) < 6


async def test_a_second_sigterm_ends_a_node_at_once_even_if_a_blocking_body_still_runs(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    assert await told_twice(start("cloud"), shop.charge, until) < 6


async def test_a_drain_that_takes_too_long_gives_its_calls_up_and_ends(
    start: "Start", shop: ModuleType, tmp_path: Path, until: "Until"
) -> None:
    (tmp_path / "node.yaml").write_text("lame_duck_seconds: 0.1\ndrain_seconds: 0.5\n")
    edge, cloud = start("edge"), start("cloud", "--config", str(tmp_path / "node.yaml"))
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        long = asyncio.create_task(shop.think.call(3.5))
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 1)
        cloud.signal(signal.SIGTERM)
        assert await ended(cloud) == 0
        assert (await long).attempts == ("cloud-1", "edge-1")  # it is idempotent
    assert "gives 1 calls up" in cloud.output
