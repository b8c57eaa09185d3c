"""Real daemons as processes: started on free ports, waited for, and always ended."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.settings.nodes import TlsSettings
from orchestrator.testing import free_port
from orchestrator.wire.security import TlsFiles, client_credentials
from policies.facts import Tier

APPS = Path(__file__).parent / "apps"
CLEARANCES: Mapping[str, str] = {"edge": "secret", "cloud": "internal"}


@dataclass
class Daemon:
    """One daemon that a test started.

    Attributes:
        tier: Where it stands.
        process: It.
        log: Where everything it prints goes.
        metrics_port: Where its operator's page is.
        tls: How to speak to it; None is plaintext.
        port: Where it listens, once it does.
    """

    tier: Tier
    process: subprocess.Popen[bytes]
    log: Path
    metrics_port: int
    tls: TlsFiles | None = None
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def health(self) -> str:
        """What grpc.health.v1 answers now; "" if nothing does within a second."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.tls:
            credentials = client_credentials(self.tls)
            channel = grpc.secure_channel(self.address, credentials, options)
        else:
            channel = grpc.insecure_channel(self.address, options)
        with channel:
            request = health_pb2.HealthCheckRequest(service="isthmus.v1.Node")
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(request, timeout=1.0, wait_for_ready=True)
            except grpc.RpcError:
                return ""
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of the operator's page."""
        try:
            with urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as answer:
            return answer.code, answer.read().decode()

    def metric(self, line: str) -> float:
        """Return the value of one metric, named with its labels; 0 if it is not there."""
        _, text = self.page("/metrics")
        found = [row for row in text.splitlines() if row.startswith(f"{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def entry(self, **more: Any) -> dict[str, Any]:
        """Return its entry in an orchestrator's settings."""
        known: dict[str, Any] = {
            "name": f"{self.tier}-1",
            "tier": self.tier,
            "address": self.address,
            "clearance": CLEARANCES[self.tier],
        }
        if self.tls:
            known["tls"] = TlsSettings(ca=self.tls.ca, cert=self.tls.cert, key=self.tls.key)
        else:
            known["insecure"] = True
        return known | more

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = 30) -> int:
        """Return its exit code."""
        return self.process.wait(seconds)

    def wait_for(self, found: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait until something holds, or fail with what the daemon printed."""
        until = time.monotonic() + seconds
        while not found():
            assert self.process.poll() is None, f"it ended:\n{self.output}"
            assert time.monotonic() < until, f"no {what} in {seconds} s:\n{self.output}"
            time.sleep(0.02)

    def wait_listening(self) -> None:
        """Wait until it has said where it listens."""
        self.wait_for(lambda: "listens on" in self.output and "\n" in self.output, "port")
        found = re.search(r"listens on \S+:(\d+)", self.output)
        assert found
        self.port = int(found[1])

    def wait_ready(self) -> None:
        """Wait until grpc.health.v1 says so."""
        self.wait_for(lambda: self.health == "SERVING", "SERVING")


class Start(Protocol):
    """Starts a daemon; it is killed at the end of the test, or of the module.

    Without a port it has to attach; it counts as ready when it says so.
    """

    def __call__(
        self,
        tier: Tier,
        *flags: str,
        app: str = "shop",
        port: int | None = 0,
        folder: Path = APPS,
        tls: TlsFiles | None = None,
        ready: bool = True,
    ) -> Daemon: ...


class Run(Protocol):
    """Runs the `isthmus` command to its end."""

    def __call__(self, *command: str, folder: Path) -> subprocess.CompletedProcess[str]: ...


class Until(Protocol):
    """Waits until something holds, without stopping the loop."""

    async def __call__(
        self, found: Callable[[], object], what: str = ..., seconds: float = ...
    ) -> None: ...


Distant = Callable[[str, float], AbstractAsyncContextManager[str]]
"""Gives another address of a node, so many seconds away in each direction."""


def environment() -> dict[str, str]:
    """Return this process's environment without settings, with the apps on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    return kept | {"PYTHONPATH": str(APPS), "PYTHONUNBUFFERED": "1"}


@dataclass
class Starter:
    """Starts daemons, and ends all of them."""

    logs: Path
    daemons: list[Daemon] = field(default_factory=list)

    def __call__(
        self,
        tier: Tier,
        *flags: str,
        app: str = "shop",
        port: int | None = 0,
        folder: Path = APPS,
        tls: TlsFiles | None = None,
        ready: bool = True,
    ) -> Daemon:
        metrics_port = free_port()
        command = [sys.executable, "-m", f"{tier}_node", "--app", app]
        command += [] if port is None else ["--port", str(port)]
        command += ["--metrics-port", str(metrics_port), *flags]
        log = self.logs / f"{len(self.daemons)}-{tier}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, cwd=folder, env=environment()
            )
        daemon = Daemon(tier, process, log, metrics_port, tls)
        self.daemons.append(daemon)
        if ready and port is None:
            daemon.wait_for(lambda: "is ready" in daemon.output, "readiness")
        elif ready:
            daemon.wait_listening()
            daemon.wait_ready()
        return daemon


@contextmanager
def starter(logs: Path) -> Iterator[Starter]:
    start = Starter(logs)
    try:
        yield start
    finally:
        for daemon in start.daemons:
            if daemon.process.poll() is None:
                daemon.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts daemons for one test."""
    with starter(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts daemons for all tests of a module."""
    with starter(tmp_path_factory.mktemp("daemons")) as start:
        yield start


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs the `isthmus` command to its end."""

    def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from orchestrator.cli import main; main()", *command],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def until() -> Until:
    """Waits until something holds."""

    async def until(
        found: Callable[[], object], what: str = "change", seconds: float = 20.0
    ) -> None:
        end = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < end, f"no {what} in {seconds} s"
            await asyncio.sleep(0.02)

    return until


@pytest.fixture(scope="session")
def distant() -> Distant:
    """Puts a network that takes its time before a node."""
    return _distant


@asynccontextmanager
async def _distant(address: str, seconds: float) -> AsyncIterator[str]:
    host, _, port = address.rpartition(":")
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(port))
        for one, other in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(_carry(one, other, seconds))
            tasks.add(task)

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Carry bytes one way; every piece takes its time, and many are under way at once."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while piece := await reader.read(2**16):
            loop.call_later(seconds, writer.write, piece)
    loop.call_later(seconds, writer.close)


@pytest.fixture(scope="session")
def apps() -> Iterator[None]:
    """Lets this process import the apps, as the caller of a daemon does."""
    sys.path.insert(0, str(APPS))
    yield
    sys.path.remove(str(APPS))


@pytest.fixture(scope="session")
def shop(apps: None) -> ModuleType:
    """The app that most tests use."""
    return import_module("shop")
