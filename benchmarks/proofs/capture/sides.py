"""The edge node and the cloud node of the capture proof, each on its side; they may be killed."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.proofs.capture.namespaces import CLOUD_HOST, inside
from benchmarks.proofs.daemon import POLICIES, is_ready
from orchestrator.testing import free_port
from policies.facts import Tier

APP = "benchmarks.proofs.capture.app"
_ROOT = Path(__file__).parents[3]
_PAGE_SECONDS = 10

_CLEARANCES: dict[str, Any] = {
    "edge": "secret",
    "cloud": {"level": "internal", "categories": ["ops"]},
}


@dataclass
class Side:
    """One node.

    Attributes:
        tier: Where it stands.
        host: Where it listens.
        folder: What the proof keeps.
        namespace: The network namespace that it runs in; empty is this one.
        pages: What its operator's page said, each time before it was ended.
    """

    tier: Tier
    host: str
    folder: Path
    namespace: str = ""
    port: int = field(default_factory=free_port)
    page: int = field(default_factory=free_port)
    pages: list[str] = field(default_factory=list)
    _process: Process | None = None

    @property
    def address(self) -> str:
        """Where it listens, as host and port."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Where all that it prints goes."""
        return self.folder / "logs" / f"{self.tier}.log"

    def entry(self, address: str = "") -> dict[str, Any]:
        """Return its entry in a caller's settings, at another address if one is given."""
        return {
            "name": self.tier,
            "tier": self.tier,
            "address": address or self.address,
            "clearance": _CLEARANCES[self.tier],
            "insecure": True,
            "session_socket": False,
        }

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            RuntimeError: It did not become ready.
        """
        app = f"{APP}:nested" if self.tier == "edge" else APP
        command = [*(inside(self.namespace) if self.namespace else []), sys.executable, "-m"]
        command += [f"{self.tier}_node", "--app", app, "--host", self.host, "--insecure"]
        command += ["--port", str(self.port), "--metrics-port", str(self.page)]
        command += ["--models", str(self.folder / "work" / "store"), "--log-level", "debug"]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, cwd=self.folder / "work", env=self._environment()
            )
        if not await is_ready(self.address, self._process):
            raise RuntimeError(
                f"the {self.tier} node did not start:\n{self.log.read_text()[-3000:]}"
            )

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")
        }
        kept["ISTHMUS_NODE_AUDIT"] = f"{self.tier}.audit"
        temporary = self.folder / "work" / "tmp"
        return kept | {"PYTHONPATH": str(_ROOT), "TMPDIR": str(temporary)}

    async def look(self) -> None:
        """Keep what its operator's page says now."""
        self.pages.append(await asyncio.to_thread(self._page))

    def _page(self) -> str:
        with urlopen(f"http://{self.host}:{self.page}/metrics", timeout=_PAGE_SECONDS) as answer:
            text: str = answer.read().decode()
        return text

    async def kill(self) -> None:
        """Look at its page, and end it without a chance to say goodbye."""
        if self._process and self._process.returncode is None:
            await self.look()
            self._process.kill()
            await self._process.wait()


@dataclass(frozen=True)
class Sides:
    """Both nodes, and where callers find the cloud."""

    edge: Side
    cloud: Side
    cloud_address: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the caller."""
        return _settings("caller", self.edge.entry(), self.cloud.entry(self.cloud_address))


def _settings(name: str, *nodes: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a caller: nothing on this machine goes past the recording."""
    audit = {"path": f"{name}.audit"}
    return {"nodes": nodes, "policies": POLICIES, "shared_memory_mib": 0, "audit": audit}


def new_sides(folder: Path, namespace: str) -> tuple[Side, Side]:
    """Return an edge here and a cloud in a namespace, or both here if none is named."""
    cloud = Side("cloud", CLOUD_HOST if namespace else "127.0.0.1", folder, namespace)
    return Side("edge", "127.0.0.1", folder), cloud


@asynccontextmanager
async def started(edge: Side, cloud: Side, cloud_address: str) -> AsyncIterator[Sides]:
    """Start both nodes, and end them."""
    sides = Sides(edge, cloud, cloud_address)
    told = _settings("nested", cloud.entry(cloud_address))
    work = edge.folder / "work"
    (work / "tmp").mkdir(exist_ok=True)
    (edge.folder / "logs").mkdir(exist_ok=True)
    (work / "isthmus.yaml").write_text(json.dumps(told))  # JSON is YAML
    try:
        await asyncio.gather(edge.start(), cloud.start())
        yield sides
    finally:
        for side in (edge, cloud):
            await side.kill()
