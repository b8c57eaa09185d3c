import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.core.apps import declarations_of
from orchestrator.core.call import Call
from orchestrator.core.errors import EndpointUnavailable, ModelUnavailable, ServiceFailed
from orchestrator.core.model import Batch, Stop, TensorSpec
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.models.store import ModelStore
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.serving.pool import ModelPool
from orchestrator.testing import FakeRuntime, ManualClock, fake_model
from policies.facts import Clearance, Level

MakeCall = Callable[..., Call]
tiny = TensorModel("tiny")
began, let_go = threading.Event(), threading.Event()
stopped: list[bool] = []
gate: list[asyncio.Event] = []


@edge_service
async def linger() -> str:
    gate[0].set()
    await gate[1].wait()
    return "done"


@edge_service
async def linger_and_ask() -> str:
    gate[0].set()
    await gate[1].wait()
    return await quick()


@edge_service
async def quick() -> str:
    return "quick"


@cloud_service
async def far() -> str:
    return "far"


@edge_service(models=[tiny])
async def compute(x: np.ndarray) -> np.ndarray:
    return (await tiny.aio({"x": x}))["y"]


@edge_service(models=[tiny])
def compute_blocking(x: np.ndarray) -> np.ndarray:
    return tiny({"x": x})["y"]


@pytest.fixture(autouse=True)
def fresh_gate() -> None:
    gate[:] = [asyncio.Event(), asyncio.Event()]
    began.clear()
    let_go.clear()
    stopped.clear()


@pytest.fixture
def tiny_in_the_store(tmp_path: Path) -> None:
    specs = [TensorSpec(name, "float32", ("batch",)) for name in "xy"]
    fake_model(tmp_path, "tiny", specs[:1], specs[1:])


def negate(batch: Batch, stop: Stop) -> Batch:
    return {"y": -batch["x"]}


def unstarted() -> Node:
    options = NodeOptions(name="node-1", tier="edge", clearance=Clearance(Level.SECRET))
    return Node(options, FakeRuntime("edge"), ModelStore(Path("nowhere")))


async def test_a_node_that_is_starting_takes_no_calls_and_then_it_does(call_of: MakeCall) -> None:
    node = unstarted()
    assert node.report().state == "starting"
    with pytest.raises(EndpointUnavailable, match="still starting") as caught:
        await node.handle(call_of(quick))
    assert caught.value.retry == "always"
    await node.start(declarations_of([quick]), LocalCaller(node))
    assert node.report().state == "ready"
    assert (await node.handle(call_of(quick))).value == "quick"
    await node.aclose()


async def test_the_refusal_of_a_starting_node_names_node_and_call(call_of: MakeCall) -> None:
    node, call = unstarted(), call_of(quick)
    try:
        with pytest.raises(EndpointUnavailable) as caught:
            await node.handle(call)
    finally:
        await node.aclose()
    assert (caught.value.node, caught.value.call_id) == ("node-1", call.id)


async def test_a_node_whose_model_is_missing_never_gets_ready() -> None:
    node = unstarted()
    with pytest.raises(ModelUnavailable, match="isthmus models add tiny"):
        await node.start(declarations_of([compute]), LocalCaller(node))
    assert node.report().state == "starting"
    await node.aclose()


async def test_services_of_the_other_tier_are_left_out(node_with: Any) -> None:
    async with node_with(quick, far) as node:
        assert [service.name for service in node.report().services] == ["quick"]
        await node.serve(far.declaration)
        assert [service.name for service in node.report().services] == ["quick"]


async def test_a_service_declared_later_is_served_once_its_model_is_warm(
    node_with: Any, call_of: MakeCall, tiny_in_the_store: None
) -> None:
    async with node_with(quick, models={"tiny": negate}) as node:
        assert node.report().parallelism == 4
        await asyncio.gather(*(node.serve(compute.declaration) for _ in range(3)))
        assert node.runtime.loaded == ["tiny"]
        report = node.report()
        assert ([m.name for m in report.models], report.parallelism) == (["tiny"], 1)
        reply = await node.handle(call_of(compute, x=np.ones(2, np.float32)))
        assert reply.value.tolist() == [-1, -1]


async def test_both_kinds_of_bodies_reach_the_model(
    node_with: Any, call_of: MakeCall, tiny_in_the_store: None
) -> None:
    async with node_with(compute, compute_blocking, models={"tiny": negate}, slots=1) as node:
        x = np.arange(3, dtype=np.float32)
        calls = [node.handle(call_of(body, x=x)) for body in (compute, compute_blocking) * 5]
        for reply in await asyncio.gather(*calls):
            np.testing.assert_array_equal(reply.value, -x)


async def test_a_model_knows_when_the_calls_that_need_it_are_due(
    node_with: Any, call_of: MakeCall, tiny_in_the_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    run = ModelPool.run

    async def watched(self: ModelPool, *arguments: Any) -> Any:
        seen.append(arguments[-1])
        return await run(self, *arguments)

    monkeypatch.setattr(ModelPool, "run", watched)
    async with node_with(compute, compute_blocking, models={"tiny": negate}) as node:
        calls = [call_of(body, x=np.ones(1, np.float32)) for body in (compute, compute_blocking)]
        for call in calls:
            await node.handle(call)
    assert seen == [call.deadline for call in calls]


async def test_draining_takes_calls_while_it_says_goodbye_and_none_after(
    node_with: Any, call_of: MakeCall, turns: Any
) -> None:
    async with node_with(linger, quick) as node:
        inside = asyncio.create_task(node.handle(call_of(linger)))
        await gate[0].wait()
        draining = asyncio.create_task(node.drain(lame_duck=0.2, seconds=20))
        await turns()
        assert node.report().state == "draining"
        assert (await node.handle(call_of(quick))).value == "quick"

        async def ask_again_and_again() -> None:
            while await node.handle(call_of(quick)):
                await asyncio.sleep(0.01)

        with pytest.raises(EndpointUnavailable, match="going away") as caught:
            await ask_again_and_again()
        assert caught.value.retry == "always"
        assert not draining.done()
        gate[1].set()
        assert (await inside).value == "done"
        assert await draining is True


async def test_a_drain_that_takes_too_long_says_so(node_with: Any, call_of: MakeCall) -> None:
    async with node_with(linger) as node:
        inside = asyncio.create_task(node.handle(call_of(linger)))
        await gate[0].wait()
        assert await node.drain(lame_duck=0, seconds=0.05) is False
        gate[1].set()
        assert (await inside).value == "done"


async def test_a_call_inside_may_still_call_its_own_node_while_it_drains(
    node_with: Any, call_of: MakeCall, turns: Any
) -> None:
    async with node_with(linger_and_ask, quick) as node:
        inside = asyncio.create_task(node.handle(call_of(linger_and_ask)))
        await gate[0].wait()
        draining = asyncio.create_task(node.drain(lame_duck=0, seconds=5))
        await turns()
        gate[1].set()
        await draining
        assert (await inside).value == "quick"


async def test_a_call_inside_may_call_its_own_node_when_that_is_full(
    node_with: Any, call_of: MakeCall
) -> None:
    gate[1].set()
    async with node_with(linger_and_ask, quick, max_in_flight=1) as node:
        assert (await node.handle(call_of(linger_and_ask))).value == "quick"


async def test_reports_come_at_once_on_every_change_and_end_with_the_node(
    node_with: Any, turns: Any
) -> None:
    seen: list[str] = []

    async def follow(node: Node) -> None:
        seen.extend([report.state async for report in node.reports(60)])

    async with node_with(quick) as node:
        following = asyncio.create_task(follow(node))
        await turns()
        for state in ("blocked", "ready", "ready", "draining"):
            await node.become(state)
            await turns()
    await asyncio.wait_for(following, 5)
    assert seen == ["ready", "blocked", "ready", "draining"]


async def test_reports_come_at_an_interval_too(node_with: Any) -> None:
    async with node_with(quick) as node:
        reports = node.reports(0.01)
        assert [(await anext(reports)).state for _ in range(3)] == ["ready"] * 3
        await reports.aclose()


async def test_a_change_while_a_report_is_being_read_is_reported_too(node_with: Any) -> None:
    async with node_with(quick) as node:
        reports = node.reports(60)
        await anext(reports)
        await node.become("draining")
        async with asyncio.timeout(0.5):
            assert (await anext(reports)).state == "draining"


async def test_reports_end_with_the_node_while_one_is_being_read(node_with: Any) -> None:
    async with node_with(quick) as node:
        reports = node.reports(60)
        await anext(reports)
    async with asyncio.timeout(0.5):
        assert await anext(reports, None) is None


async def test_the_report_counts_calls_and_time(node_with: Any, call_of: MakeCall) -> None:
    clock = ManualClock()
    async with node_with(linger, clock=clock) as node:
        inside = asyncio.create_task(node.handle(call_of(linger)))
        await gate[0].wait()
        clock.turn(90)
        report = node.report()
        assert (report.waiting, report.uptime_ms) == (1, 90_000)
        gate[1].set()
        await inside


async def test_a_model_outside_of_a_service_that_names_it_fails_the_body_with_the_cure(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(forgot) as node:
        with pytest.raises(ServiceFailed, match=r"name it in the service's decorator"):
            await node.handle(call_of(forgot))


@edge_service
async def forgot() -> dict[str, np.ndarray]:
    return await tiny.aio({})


def stuck_until_stopped(batch: Batch, stop: Stop) -> Batch:
    if (batch["x"] == 1).any():  # the test's own row, not one the model is tried out with
        began.set()
        while not stop.requested and not let_go.wait(0.01):
            pass
        stopped.append(stop.requested)
        stop.check()
    return negate(batch, stop)


@pytest.mark.parametrize("service", [compute, compute_blocking])
@pytest.mark.parametrize("reason", ["cancelled", "deadline"])
async def test_a_model_stops_when_its_last_caller_has_left(
    node_with: Any,
    call_of: MakeCall,
    until: Any,
    tiny_in_the_store: None,
    service: Any,
    reason: str,
) -> None:
    x = np.ones(1, np.float32)
    async with node_with(service, models={"tiny": stuck_until_stopped}) as node:
        seconds = 0.3 if reason == "deadline" else 20.0
        handling = asyncio.create_task(node.handle(call_of(service, seconds=seconds, x=x)))
        assert await asyncio.to_thread(began.wait, 10)
        if reason == "cancelled":
            handling.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(handling, return_exceptions=True)
        try:
            async with asyncio.timeout(1):
                await until(lambda: stopped)
        finally:
            let_go.set()
    assert stopped == [True]
