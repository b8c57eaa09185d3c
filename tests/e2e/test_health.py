"""What a daemon says of itself: grpc.health.v1, /readyz, /livez, /metrics."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from orchestrator import Orchestrator, Sensitive
from orchestrator.core.errors import CallError, NoRoute

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until

APPS = Path(__file__).parent / "apps"
SLOW_START = """
import time
from orchestrator import edge_service, method

@edge_service
class Slow:
    def __init__(self) -> None:
        time.sleep(1.5)

    @method
    def one(self) -> int:
        return 1
"""


@pytest.fixture(scope="module")
def edge(start_shared: "Start") -> "Daemon":
    return start_shared("edge")


async def test_health_is_not_serving_until_the_node_is_warm(start: "Start", tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_START)
    edge = start("edge", app="slow", folder=tmp_path, ready=False)
    edge.wait_listening()
    seen = {edge.health: edge.page("/readyz")}
    edge.wait_for(lambda: seen.setdefault(edge.health, edge.page("/readyz"))[0] == 200, "200")
    # It answered all the time, and both answers agreed.
    assert seen == {"NOT_SERVING": (503, "starting\n"), "SERVING": (200, "ready\n")}


async def test_a_node_that_still_starts_is_left_alone_and_called_when_it_is_ready(
    start: "Start", tmp_path: Path, shop: ModuleType, until: "Until"
) -> None:
    (tmp_path / "slow.py").write_text((APPS / "shop.py").read_text() + SLOW_START)
    edge = start("edge", app="slow", folder=tmp_path, ready=False)
    edge.wait_listening()
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop") as orchestrator:
        with pytest.raises(NoRoute, match="not ready: it is starting"):
            await shop.add.aio(1, 2)
        await until(lambda: not orchestrator.problems["edge-1"], "warm node")
        assert await shop.add.aio(1, 2) == 3


async def test_a_stopped_loop_turns_the_node_not_ready_and_callers_go_elsewhere(
    edge: "Daemon", start: "Start", shop: ModuleType, until: "Until"
) -> None:
    cloud = start("cloud")
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop") as orchestrator:
        stuck = asyncio.create_task(shop.stall.options(tier="edge").aio(1.8))
        await until(lambda: edge.page("/readyz") == (503, "blocked\n"), "503")
        assert edge.page("/livez") == (200, "alive\n")
        assert edge.metric("isthmus_ready") == 0
        await stuck
        await until(lambda: orchestrator.problems["edge-1"] == "it is blocked", "news")
        assert edge.health == "NOT_SERVING"  # for a while yet: it may stop again
        assert (await shop.add.aio.call(1, 2)).attempts == ("cloud-1",)
        await until(lambda: edge.health == "SERVING", "return")
        await until(lambda: not orchestrator.problems["edge-1"], "return")
    assert "its loop stood still" in edge.output


async def test_a_loop_that_stands_still_shows_as_lag_while_it_does(
    edge: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        stuck = asyncio.create_task(shop.stall(0.9))
        await until(lambda: edge.metric("isthmus_loop_lag_seconds") > 0.3, "lag")
        await stuck
        await until(lambda: edge.metric("isthmus_loop_lag_seconds") < 0.3, "calm")


async def test_a_short_stall_does_not_turn_a_node_away(edge: "Daemon", shop: ModuleType) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        await shop.stall(0.2)
        assert edge.page("/readyz") == (200, "ready\n")
        assert edge.health == "SERVING"


async def test_metrics_count_calls_by_service_and_outcome(edge: "Daemon", shop: ModuleType) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        for n in range(3):
            await shop.add.aio(n, n)
        await shop.redact.aio(Sensitive("Ada"))
        with pytest.raises(CallError):
            await shop.fail.aio("x")
    assert edge.metric('isthmus_requests_total{code="OK",service="add"}') >= 3
    assert edge.metric('isthmus_requests_total{code="SERVICE_FAILED",service="fail"}') == 1
    assert edge.metric('isthmus_declassifications_total{service="redact"}') == 1
    count = edge.metric('isthmus_request_duration_seconds_count{service="fail"}')
    assert count == 1
    assert edge.metric('isthmus_request_duration_seconds_bucket{le="+Inf",service="fail"}') == 1
    assert edge.metric("isthmus_ready") == 1
    assert edge.metric("isthmus_requests_in_progress") == 0


async def test_the_page_says_what_it_has_instead_of_other_paths(edge: "Daemon") -> None:
    status, text = edge.page("/etc/passwd")
    assert (status, text) == (404, "try /metrics, /readyz or /livez\n")


async def test_a_scrape_is_answered_while_the_node_works(edge: "Daemon", shop: ModuleType) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        crowd = [asyncio.create_task(shop.bake.aio(0.1)) for _ in range(40)]
        seen = [
            await asyncio.to_thread(edge.metric, "isthmus_requests_in_progress") for _ in range(5)
        ]
        await asyncio.gather(*crowd)
    assert max(seen) > 0
