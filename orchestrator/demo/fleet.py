"""A real edge node and a real cloud node as processes, for the demo to kill and restart."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from orchestrator.client import Orchestrator
from orchestrator.core.errors import EndpointUnavailable
from policies.facts import Tier

_APP = "orchestrator.demo.services"
_START_SECONDS = 120.0


class Fleet:
    """One daemon of each tier on this machine.

    Args:
        store: Where their models are.
        logs: A folder for what they print.
    """

    def __init__(self, store: Path, logs: Path) -> None:
        self._store = store
        self._logs = logs
        self._ports: dict[Tier, int] = {"edge": _free_port(), "cloud": _free_port()}
        self._processes: dict[Tier, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of an orchestrator that knows both."""
        clearances = {"edge": "secret", "cloud": "internal"}
        return {
            "nodes": [
                {
                    "name": f"{tier}-1",
                    "tier": tier,
                    "address": f"127.0.0.1:{port}",
                    "clearance": clearances[tier],
                    "insecure": True,
                }
                for tier, port in self._ports.items()
            ]
        }

    def start(self, tier: Tier) -> None:
        """Start the daemon of a tier; it is ready when its models are warm."""
        command = [sys.executable, "-m", f"{tier}_node", "--app", _APP]
        command += ["--port", str(self._ports[tier]), "--models", str(self._store)]
        with self._log(tier) as log:
            self._processes[tier] = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603

    def kill(self, tier: Tier) -> None:
        """Kill the daemon of a tier, without a chance to say goodbye."""
        self._processes[tier].send_signal(signal.SIGKILL)
        self._processes[tier].wait()

    async def ready(self, tier: Tier, orchestrator: Orchestrator) -> None:
        """Wait until an orchestrator sees the tier's node ready.

        Raises:
            EndpointUnavailable: It ended, or was not ready in time.
        """
        async with asyncio.timeout(_START_SECONDS):
            while orchestrator.problems[f"{tier}-1"]:
                if self._processes[tier].poll() is not None:
                    raise EndpointUnavailable(
                        f"the {tier} node ended: {self._logs / tier}.log tells why"
                    )
                await asyncio.sleep(0.1)

    def stop(self) -> None:
        """End all daemons."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()

    def _log(self, tier: Tier) -> IO[bytes]:
        return (self._logs / f"{tier}.log").open("ab")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
