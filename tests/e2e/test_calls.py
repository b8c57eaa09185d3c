"""Deadlines, limits, and callers of every kind, over real nodes."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    OutcomeUnknown,
    Overloaded,
    ServiceFailed,
    UsageError,
)

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until

CALLER = """
import asyncio, json, sys
from orchestrator import Orchestrator
import shop

async def main() -> None:
    async with Orchestrator({"nodes": json.loads(sys.argv[1])}, app="shop"):
        await asyncio.gather(*(shop.think(60.0) for _ in range(5)))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def cloud(start_shared: "Start") -> "Daemon":
    return start_shared("cloud")


async def test_a_deadline_ends_the_wait_and_the_work(
    cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    began = time.monotonic()
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        with pytest.raises(DeadlineExceeded):
            await shop.think.options(deadline="300ms")(60.0)
        assert time.monotonic() - began < 5
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 0, "empty node")


async def test_a_full_node_turns_calls_away_and_another_takes_them(
    start: "Start", shop: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "node.yaml").write_text("max_in_flight: 2\n")
    small, edge = start("cloud", "--config", str(tmp_path / "node.yaml")), start("edge")
    async with Orchestrator({"nodes": [small.entry(), edge.entry()]}, app="shop"):
        results = await asyncio.gather(*(shop.think.call(0.3) for _ in range(8)))
    assert {r.node for r in results} == {"cloud-1", "edge-1"}
    assert small.metric('isthmus_requests_total{code="OVERLOADED",service="think"}') > 0


async def test_a_full_node_alone_says_that_there_is_no_room(
    start: "Start", shop: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "node.yaml").write_text("max_in_flight: 1\n")
    small = start("cloud", "--config", str(tmp_path / "node.yaml"))
    async with Orchestrator({"nodes": [small.entry()]}, app="shop"):
        calls = [shop.think.call(1.0) for _ in range(4)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, Exception)]
    assert len(refused) == 3
    assert {type(end) for end in refused} == {Overloaded}
    assert "the node has 1 calls, its limit" in str(refused[0])


async def test_wrong_arguments_are_refused_at_the_caller_and_nothing_is_sent(
    cloud: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        with pytest.raises(InvalidInput, match=r"add\(a: int, b: int\) -> int: 'b'"):
            await shop.add.aio(1, "2")
        with pytest.raises(InvalidInput, match="missing a required argument"):
            await shop.add.aio(1)
    assert cloud.metric('isthmus_requests_total{code="INVALID_INPUT",service="add"}') == 0


async def test_a_failed_body_names_the_exceptions_class_the_node_and_the_call(
    start: "Start", shop: ModuleType
) -> None:
    edge = start("edge", "--name", "kitchen")
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        with pytest.raises(ServiceFailed) as caught:
            await shop.fail.aio("it")
    error = caught.value
    assert (error.exception, error.node) == ("ValueError", "edge-1")
    assert "kitchen has the frames in its log" in str(error)
    assert f"fail failed in call {error.call_id}: ValueError at" in edge.output
    assert "shop.py" in edge.output


def test_threads_of_a_plain_program_get_their_own_answers(
    cloud: "Daemon", shop: ModuleType
) -> None:
    with Orchestrator({"nodes": [cloud.entry()]}, app="shop"), ThreadPoolExecutor(8) as threads:
        sums = list(threads.map(lambda n: [shop.add(n, m) for m in range(25)], range(8)))
    assert sums == [[n + m for m in range(25)] for n in range(8)]


def test_no_thread_is_left_when_an_orchestrator_is_closed(
    cloud: "Daemon", shop: ModuleType
) -> None:
    with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        assert shop.add(1, 2) == 3
        assert "isthmus" in {thread.name for thread in threading.enumerate()}
    assert "isthmus" not in {thread.name for thread in threading.enumerate()}


async def test_a_blocking_call_inside_a_running_loop_names_the_awaitable_form(
    cloud: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        with pytest.raises(UsageError, match=r"use `await add\.aio\(\.\.\.\)`"):
            shop.add(1, 2)


async def test_calls_in_flight_when_the_orchestrator_closes_end_with_an_error_of_ours(
    cloud: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop"):
        calls = [asyncio.create_task(service(60.0)) for service in (shop.think, shop.charge.aio)]
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 2)
    ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert all(isinstance(end, CallError) for end in ends)
    assert isinstance(ends[0], EndpointUnavailable)
    assert isinstance(ends[1], OutcomeUnknown)


def test_a_caller_that_is_killed_leaves_no_calls_behind_at_the_node(
    start: "Start", tmp_path: Path
) -> None:
    node = start("cloud")
    (tmp_path / "caller.py").write_text(CALLER)
    command = [sys.executable, str(tmp_path / "caller.py"), json.dumps([node.entry()])]
    apps = Path(__file__).parent / "apps"
    with subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(apps)}) as caller:
        try:
            node.wait_for(lambda: node.metric("isthmus_requests_in_progress") == 5, "calls")
        finally:
            caller.kill()
    node.wait_for(lambda: node.metric("isthmus_requests_in_progress") == 0, "empty node")


async def test_two_orchestrators_in_one_process_share_nothing_but_the_nodes(
    cloud: "Daemon", start: "Start", shop: ModuleType
) -> None:
    edge = start("edge")
    async with Orchestrator({"nodes": [cloud.entry()]}, app="shop") as one:
        async with Orchestrator({"nodes": [edge.entry()]}, app="shop") as other:
            assert (await shop.add.aio.call(1, 2)).node == "edge-1"  # the innermost is active
            assert (set(one.problems), set(other.problems)) == ({"cloud-1"}, {"edge-1"})
        assert (await shop.add.aio.call(1, 2)).node == "cloud-1"
