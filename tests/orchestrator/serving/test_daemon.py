import asyncio
import gc
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.core.errors import ModelUnavailable, SettingsError
from orchestrator.serving.daemon import _collect_garbage_again, check_node
from orchestrator.serving.settings import NodeSettings
from orchestrator.testing import FakeRuntime, free_port
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

APP = """
import asyncio, time
from orchestrator import edge_service, method

@edge_service
async def quick() -> str:
    return "quick"

@edge_service
async def slow() -> str:
    await asyncio.sleep(1.0)
    return "slow"

@edge_service
def stuck() -> None:
    time.sleep(60)

something_else = 5
"""
SLOW_START = """
import time
from orchestrator import edge_service, method

@edge_service
class Heavy:
    def __init__(self) -> None:
        time.sleep(30)

    @method
    def run(self) -> None: ...
"""
DAEMON = """
import asyncio, sys, json
from orchestrator.serving.daemon import serve
from orchestrator.serving.logs import set_up_logging
from orchestrator.serving.settings import NodeSettings
from orchestrator.testing import FakeRuntime
set_up_logging("info", "text")
asyncio.run(serve("edge", NodeSettings(**json.loads(sys.argv[1])), FakeRuntime("edge")))
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "app_of_the_daemon_tests.py").write_text(APP)
    (tmp_path / "app_that_starts_slowly.py").write_text(SLOW_START)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "app_of_the_daemon_tests", raising=False)
    return "app_of_the_daemon_tests"


async def test_a_check_tells_what_would_be_served_and_opens_no_port(app: str) -> None:
    report = await check_node("edge", NodeSettings(app=app, name="edge-1"), FakeRuntime("edge"))
    assert (report.name, report.state) == ("edge-1", "ready")
    assert [service.name for service in report.services] == ["quick", "slow", "stuck"]


async def test_a_check_finds_a_sick_device(app: str) -> None:
    runtime = FakeRuntime("edge")
    runtime.problem = "the device fell off the bus"
    with pytest.raises(ModelUnavailable, match="fell off the bus"):
        await check_node("edge", NodeSettings(app=app), runtime)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "give --app module"),
        ("no_such_module_anywhere", "cannot be imported: .*run in the folder it lies in"),
        ("app_of_the_daemon_tests:nobody", "has no 'nobody'"),
        ("app_of_the_daemon_tests:something_else", "must name an Orchestrator"),
        ("json", "declares no service"),
    ],
)
async def test_an_app_that_cannot_be_served_is_a_settings_error(
    app: str, name: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        await check_node("edge", NodeSettings(app=name), FakeRuntime("edge"))


async def test_a_check_refuses_an_open_binding(app: str) -> None:
    with pytest.raises(SettingsError, match="say --insecure"):
        await check_node("edge", NodeSettings(app=app, host="0.0.0.0"), FakeRuntime("edge"))


@dataclass
class Daemon:
    process: "subprocess.Popen[bytes]"
    stub: Any
    health: Any

    async def listening(self) -> bool:
        try:
            return bool((await self.stub.Describe(pb.DescribeRequest(), timeout=5)).name)
        except grpc.aio.AioRpcError:
            return False

    async def serving(self) -> bool:
        try:
            answer = await self.health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not await condition():
                assert self.process.poll() is None
                await asyncio.sleep(0.05)

    def call(self, service: str) -> Any:
        label = pb.Label(level=pb.LEVEL_PUBLIC)
        payload = pb.Payload(json="{}")
        return self.stub.Invoke(pb.InvokeRequest(service=service, label=label, arguments=payload))

    async def inside(self) -> bool:
        return bool((await self.stub.Describe(pb.DescribeRequest())).waiting)

    async def ended(self, seconds: float) -> int | None:
        """Return the exit status, or None if it has not ended in time."""
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            return None


@asynccontextmanager
async def daemon(folder: Path, **settings: Any) -> AsyncIterator[Daemon]:
    settings = {"app": "app_of_the_daemon_tests", "lame_duck_seconds": 0.0, **settings}
    settings["port"] = free_port()
    command = [sys.executable, "-c", DAEMON, json.dumps(settings)]
    with open(folder / "daemon.log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stderr=log)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{settings['port']}") as channel:
            yield Daemon(process, NodeStub(channel), health_pb2_grpc.HealthStub(channel))
    finally:
        process.kill()
        process.wait()


async def test_a_call_inside_is_answered_before_the_daemon_ends_well(
    app: str, tmp_path: Path
) -> None:
    async with daemon(tmp_path) as running:
        await running.until(running.serving)
        inside = asyncio.ensure_future(running.call("slow"))
        await running.until(running.inside)
        running.process.send_signal(signal.SIGTERM)
        assert (await inside).result.json == '"slow"'
        assert await running.ended(20) == 0


async def test_it_says_goodbye_before_it_refuses(app: str, tmp_path: Path) -> None:
    async with daemon(tmp_path, lame_duck_seconds=2.0) as running:
        await running.until(running.serving)
        running.process.send_signal(signal.SIGTERM)

        async def leaving() -> bool:
            return not await running.serving()

        await running.until(leaving)
        assert (await running.call("quick")).result.json == '"quick"'
        assert await running.ended(20) == 0


async def test_a_second_signal_ends_the_goodbye(app: str, tmp_path: Path) -> None:
    async with daemon(tmp_path, lame_duck_seconds=100.0) as running:
        await running.until(running.serving)
        running.process.send_signal(signal.SIGTERM)

        async def leaving() -> bool:
            return not await running.serving()

        await running.until(leaving)
        running.process.send_signal(signal.SIGINT)
        assert await running.ended(20) == 0


async def test_a_blocking_body_that_does_not_end_does_not_keep_the_daemon(
    app: str, tmp_path: Path
) -> None:
    async with daemon(tmp_path, drain_seconds=0.2) as running:
        await running.until(running.serving)
        inside = asyncio.ensure_future(running.call("stuck"))
        await running.until(running.inside)
        running.process.send_signal(signal.SIGTERM)
        await asyncio.gather(inside, return_exceptions=True)
        assert await running.ended(8) == 0


async def test_a_daemon_can_be_ended_while_it_starts(app: str, tmp_path: Path) -> None:
    async with daemon(tmp_path, app="app_that_starts_slowly") as running:
        await running.until(running.listening)
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended(8) == 0


def test_the_collector_that_was_off_while_the_node_started_comes_back_on() -> None:
    frozen = gc.get_freeze_count()
    _collect_garbage_again()
    assert gc.get_freeze_count() == frozen  # it was on: nothing to do
    gc.disable()
    try:
        _collect_garbage_again()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.enable()
        gc.unfreeze()
