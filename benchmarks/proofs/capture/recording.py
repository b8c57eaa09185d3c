"""Recording what passes between edge and cloud: on the cable, or in a proxy on the way."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.proofs.capture import packets, proxy, tcp
from benchmarks.proofs.capture.namespaces import CABLE, CLOUD_HOST

_HERE = "benchmarks.proofs.capture"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded.

    Attributes:
        capture: The streams.
        lost: Packets that the kernel could not hand over.
    """

    capture: tcp.Capture
    lost: int = 0


class Recorder(Protocol):
    """Records while it is open; what it recorded can be read afterwards."""

    address: str
    """Where callers find the cloud."""

    ended: int
    """How many connections were cut, or how often all were that passed a proxy."""

    async def cut(self) -> None:
        """End all connections between edge and cloud at once."""

    def read(self) -> Recorded:
        """Return what was recorded."""


class _OnTheCable:
    def __init__(self, path: Path, address: str) -> None:
        self.address = address
        self.ended = 0
        self._path = path

    async def cut(self) -> None:
        command = ["ss", "--kill", "--no-header", "--tcp", "dst", CLOUD_HOST]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        self.ended += len(said.splitlines())

    def read(self) -> Recorded:
        counts = json.loads(self._path.with_suffix(".json").read_text())
        capture = tcp.assemble(packets.read(self._path))
        if capture.packets != counts["packets"]:
            raise RuntimeError("the file has not all packets that were recorded")
        return Recorded(capture, counts["lost"])


class _InAProxy:
    def __init__(self, process: Process, folder: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.ended = 0
        self._process, self._folder = process, folder

    async def cut(self) -> None:
        self._process.send_signal(signal.SIGUSR1)
        self.ended += 1

    def read(self) -> Recorded:
        return Recorded(proxy.read(self._folder))


@asynccontextmanager
async def recording(folder: Path, address: str, *, cable: bool) -> AsyncIterator[Recorder]:
    """Record what passes to a cloud node.

    Args:
        folder: Where the recording goes.
        address: Where the cloud node listens.
        cable: Whether to record the cable of this namespace, or else in a proxy.
    """
    await asyncio.to_thread(folder.mkdir)
    path = folder / "capture.pcap"
    if cable:
        command = [f"{_HERE}.packets", CABLE, str(path)]
    else:
        command = [f"{_HERE}.proxy", address, str(folder)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout  # noqa: S101  it is a pipe
        said = (await process.stdout.readline()).decode().strip()
        if not said:
            raise RuntimeError("the recorder did not start")
        yield _OnTheCable(path, address) if cable else _InAProxy(process, folder, int(said))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
