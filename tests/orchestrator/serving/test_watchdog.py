import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.core.call import Call
from orchestrator.decorators import edge_service
from orchestrator.serving import watchdog as module
from orchestrator.serving.node import Node
from orchestrator.serving.operator import OperatorPage
from orchestrator.serving.watchdog import TICK, Watchdog
from orchestrator.testing import FakeRuntime, ManualClock, listening

MakeCall = Callable[..., Call]
STATUS = health_pb2.HealthCheckResponse


@edge_service
async def block() -> None:
    time.sleep(1.2)


@edge_service
async def quick() -> None: ...


@asynccontextmanager
async def watching(watchdog: Watchdog) -> AsyncIterator[None]:
    task = asyncio.create_task(watchdog.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def states_of(node: Node) -> AsyncIterator[list[str]]:
    seen: list[str] = []

    async def follow() -> None:
        async for report in node.reports(60):
            seen.append(report.state)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def readyz(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


async def test_a_blocked_loop_takes_the_node_out_and_it_comes_back(
    node_with: Any, call_of: MakeCall
) -> None:
    answers: list[tuple[int, str]] = []
    blocked = threading.Event()

    def ask_while_blocked(port: int) -> None:
        blocked.wait(10)
        time.sleep(0.7)
        answers.append(readyz(port))

    async with node_with(block, quick) as node, listening(node) as address:
        watchdog = Watchdog(node, limit=0.3, calm=0.5)
        page = OperatorPage(node, watchdog, "127.0.0.1", 0)
        page.start()
        asker = threading.Thread(target=ask_while_blocked, args=(page.port,))
        asker.start()
        async with (
            watching(watchdog),
            states_of(node) as states,
            grpc.aio.insecure_channel(address) as channel,
        ):
            stub: Any = health_pb2_grpc.HealthStub(channel)
            health = stub.Watch(health_pb2.HealthCheckRequest(service="isthmus.v1.Node"))
            assert (await health.read()).status == STATUS.SERVING
            assert await asyncio.to_thread(readyz, page.port) == (200, "ready")
            blocked.set()
            await node.handle(call_of(block))
            async with asyncio.timeout(10):
                assert (await health.read()).status == STATUS.NOT_SERVING
                await node.handle(call_of(quick))  # blocked is not closed
                assert (await health.read()).status == STATUS.SERVING
            assert await asyncio.to_thread(readyz, page.port) == (200, "ready")
            assert states == ["ready", "blocked", "ready"]
            health.cancel()
        await asyncio.to_thread(asker.join)
        page.stop()
    assert answers == [(503, "blocked")]


async def test_lag_is_what_the_loop_is_late_beyond_its_tick(node_with: Any) -> None:
    clock = ManualClock()
    async with node_with(quick) as node:
        watchdog = Watchdog(node, limit=1.0, clock=clock)
        assert (watchdog.lag, watchdog.blocked) == (0, False)
        clock.turn(TICK + 0.9)
        assert watchdog.lag == pytest.approx(0.9)
        assert not watchdog.blocked
        clock.turn(0.2)
        assert watchdog.blocked


async def test_a_node_that_drains_is_never_made_ready_again(node_with: Any, until: Any) -> None:
    async with node_with(quick) as node:
        watchdog = Watchdog(node, limit=0.1, calm=0.1)
        async with watching(watchdog), states_of(node) as states:
            await until(lambda: states == ["ready"])
            await node.become("draining")
            time.sleep(0.4)
            await asyncio.sleep(0.5)
        assert states == ["ready", "draining"]


class Device(FakeRuntime):
    """A runtime whose device answers slowly, or not at all."""

    seconds = 0.0
    error: Exception | None = None

    def health(self) -> str | None:
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return self.problem


@pytest.fixture
def asked_at_every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds between two questions are too long for a test; no parameter sets them."""
    monkeypatch.setattr(module, "_HEALTH_TICKS", 1)


@pytest.mark.usefixtures("asked_at_every_tick")
async def test_a_sick_device_takes_the_node_out_until_it_is_well(
    node_with: Any, until: Any
) -> None:
    device = Device("edge")
    async with (
        node_with(quick, runtime=device) as node,
        watching(Watchdog(node)),
        states_of(node) as states,
    ):
        await until(lambda: states == ["ready"])
        device.problem = "the device fell off the bus"
        await until(lambda: states == ["ready", "blocked"])
        device.problem = None
        await until(lambda: states == ["ready", "blocked", "ready"])


@pytest.mark.usefixtures("asked_at_every_tick")
async def test_a_device_that_answers_slowly_does_not_make_the_loop_look_blocked(
    node_with: Any,
) -> None:
    device = Device("edge")
    device.seconds = 0.6
    async with node_with(quick, runtime=device) as node:
        async with watching(Watchdog(node, limit=0.3, calm=0.1)), states_of(node) as states:
            await asyncio.sleep(1.2)
        assert states == ["ready"]


@pytest.mark.usefixtures("asked_at_every_tick")
async def test_a_device_whose_health_cannot_be_asked_is_sick_and_watched_on(
    node_with: Any, until: Any
) -> None:
    device = Device("edge")
    device.error = RuntimeError("driver")
    async with (
        node_with(quick, runtime=device) as node,
        watching(Watchdog(node)),
        states_of(node) as states,
    ):
        async with asyncio.timeout(1):
            await until(lambda: states == ["ready", "blocked"])
        device.error = None
        await until(lambda: states == ["ready", "blocked", "ready"])
