"""A real edge node as a process of its own, which the proofs use and may ill-treat."""

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import urlopen

from orchestrator.core.errors import CallError
from orchestrator.testing import free_port
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Level

APP = "benchmarks.proofs.app"
_START_SECONDS = 60.0

POLICIES = {"filters": ["availability", "privacy", "capacity"]}
"""The filter for deadlines would refuse calls that are sure to be late; such shall be sent."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """An edge node that is ready.

    Attributes:
        process: Its process id.
        address: Where it listens.
        page: The port of its operator's page.
    """

    process: int
    address: str
    page: int

    @property
    def settings(self) -> dict[str, Any]:
        """The caller's settings for it."""
        node = {"name": "edge", "tier": "edge", "address": self.address, "insecure": True}
        return {"nodes": [node | {"clearance": "secret"}], "policies": POLICIES}

    def metric(self, line: str) -> float:
        """Return a metric, named with its labels; 0 if there is none."""
        with urlopen(f"http://127.0.0.1:{self.page}/metrics", timeout=20) as answer:
            found = re.search(rf"^{re.escape(line)} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@asynccontextmanager
async def process_of(
    module: str, *arguments: str, log: BinaryIO | None = None, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module as a process; without a log its output is a pipe. It is killed at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdout=log or asyncio.subprocess.PIPE, stderr=log, env=kept | environment,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def edge_node(store: Path, app: str = APP, **settings: Any) -> AsyncIterator[Daemon]:
    """Start an edge node on free ports, wait until it is ready, and end it.

    Args:
        store: Its model store.
        app: What it serves.
        settings: Settings of the node, by their names.
    """
    port, page = free_port(), free_port()
    flags = ["--app", app, "--models", str(store), "--port", str(port)]
    flags += ["--metrics-port", str(page)]
    given = {f"ISTHMUS_NODE_{name.upper()}": str(value) for name, value in settings.items()}
    with tempfile.TemporaryFile() as log:
        async with process_of("edge_node", *flags, log=log, **given) as process:
            daemon = Daemon(process.pid, f"127.0.0.1:{port}", page)
            if not await is_ready(daemon.address, process):
                log.seek(0)
                raise RuntimeError(f"the node did not start:\n{log.read().decode()}")
            yield daemon


async def is_ready(address: str, process: asyncio.subprocess.Process) -> bool:
    """Say whether a node takes calls, once it does or has ended."""
    channel, end = UnaryChannel(address, Clearance(Level.PUBLIC)), time.monotonic() + _START_SECONDS
    try:
        while process.returncode is None and time.monotonic() < end:
            with suppress(CallError):  # it does not listen yet
                if (await channel.describe()).state == "ready":
                    return True
            await asyncio.sleep(0.05)
    finally:
        await channel.aclose()
    return False
