"""Either side is killed while tensors are on the way: the other side leaves no memory behind.

The small form kills each side 3 times; the full one is
`ISTHMUS_SHARED_MEMORY_KILLS=50 pytest tests/e2e/test_shared_memory.py`.
"""

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from orchestrator.core.call import Call
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import CallError
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.memory import SharedMemory
from policies.facts import PUBLIC, Clearance, Level
from tests.e2e.conftest import APPS, environment

if TYPE_CHECKING:
    from tests.e2e.conftest import Start, Until

KILLS = int(os.environ.get("ISTHMUS_SHARED_MEMORY_KILLS", "3"))
MARK = "memfd:isthmus"
NUMBERS = np.arange(1_000_000, dtype=np.float32)


def segments(process: int) -> tuple[int, int]:
    """Return how many files and mappings of shared memory a process has."""
    gc.collect()
    files = 0
    for number in os.listdir(f"/proc/{process}/fd"):
        try:
            files += MARK in os.readlink(f"/proc/{process}/fd/{number}")
        except FileNotFoundError:
            pass
    return files, Path(f"/proc/{process}/maps").read_text().count(MARK)


def files_of(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


class Transfers:
    """Calls with a large tensor each, four at a time, until the node goes away."""

    def __init__(self, address: str, service: Any) -> None:
        self.channel = SessionChannel(address, Clearance(Level.SECRET))
        self.done = 0
        self._spec = service.spec
        self._tasks = [asyncio.create_task(self._keep_calling()) for _ in range(4)]

    def _call(self) -> Call:
        spec, arguments = self._spec, {"numbers": NUMBERS}
        deadline = Deadline.after(20)
        return Call(
            "0" * 16, "0" * 32, spec.name, spec.version, arguments, PUBLIC, deadline, spec.placement
        )

    async def _keep_calling(self) -> None:
        while True:
            try:
                value = (await self.channel.send(self._call())).value
            except CallError:
                return
            assert value[-1] == NUMBERS[-1] * 2
            self.done += 1

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await asyncio.gather(*self._tasks)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.channel.aclose()


@contextmanager
def sender(address: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, str(APPS / "sender.py"), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        try:
            yield process
        finally:
            process.kill()


async def kill_a_node(start: "Start", until: "Until", service: Any, path: Path) -> None:
    assert segments(os.getpid()) == (0, 0)  # whatever ran in this process before
    node = start("edge", "--socket", str(path))
    transfers = Transfers(f"unix:{path}", service)
    await until(lambda: transfers.done > 8, "transfers")
    assert segments(os.getpid()) != (0, 0)  # the positive control: they are there
    node.kill()
    await transfers.ended()
    assert transfers.channel._session is not None  # it is still held, and holds nothing
    try:
        await until(lambda: segments(os.getpid()) == (0, 0), "end of the segments", 20)
    finally:
        await transfers.aclose()


async def test_a_caller_keeps_nothing_of_nodes_that_were_killed(
    start: "Start", until: "Until", shop: Any, tmp_path: Path
) -> None:
    before = 0
    for turn in range(KILLS):
        await kill_a_node(start, until, shop.double, tmp_path / "edge.sock")
        if turn == 0:
            before = files_of(os.getpid())
    assert files_of(os.getpid()) <= before


async def test_the_check_finds_what_a_caller_keeps(
    start: "Start", until: "Until", shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SharedMemory, "close", lambda self: None)
        with pytest.raises(AssertionError, match="no end of the segments"):
            await kill_a_node(start, until, shop.double, tmp_path / "edge.sock")


async def test_a_node_keeps_nothing_of_callers_that_were_killed(
    start: "Start", until: "Until", tmp_path: Path
) -> None:
    path = tmp_path / "edge.sock"
    node = start("edge", "--socket", str(path))
    process, before = node.process.pid, 0
    for turn in range(KILLS):
        with sender(f"unix:{path}") as caller:
            assert caller.stdout
            for _ in range(8):
                assert await asyncio.to_thread(caller.stdout.readline) == b"sent\n"
            assert segments(process) != (0, 0)  # the positive control
            caller.kill()
        await until(lambda: segments(process) == (0, 0), "end of the segments")
        if turn == 0:
            before = files_of(process)
    await until(lambda: files_of(process) <= before, "end of the files")
    assert node.process.poll() is None


def test_both_killed_at_once_leave_nothing_in_any_folder(start: "Start", tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    node = start("edge", "--socket", str(path))
    with sender(f"unix:{path}") as caller:
        assert caller.stdout
        assert caller.stdout.readline() == b"sent\n"
        node.kill()
        caller.kill()
    assert [name for name in os.listdir("/dev/shm") if "isthmus" in name] == []
