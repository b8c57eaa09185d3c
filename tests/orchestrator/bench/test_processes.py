import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.bench.processes import running
from orchestrator.bench.turns import CannotRunError
from orchestrator.bench.usage import cpu_seconds
from orchestrator.core.ports import free_port

CHILD = "import time\\nwhile True: time.sleep(0.001)"
PARENT = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', '{CHILD}'])\n"
PARENT += "open('child', 'w').write(str(p.pid)); os.rename('child', {ready!r}); p.wait()"


async def yes() -> bool:
    return True


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


async def test_a_server_with_children_sleeps_wakes_and_ends_as_a_whole(tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    async def is_ready() -> bool:
        return ready.exists()

    command = [sys.executable, "-c", PARENT.format(ready=str(ready))]
    async with running(command, is_ready) as server:
        child = int(ready.read_text())
        server.sleep()
        assert until(lambda: (state(server.pid), state(child)) == ("T", "T"))
        used = cpu_seconds(child)
        time.sleep(0.1)
        assert cpu_seconds(child) == used
        with server.awake():
            assert until(lambda: cpu_seconds(child) > used)
        assert until(lambda: state(child) == "T")
    assert until(lambda: state(child) in ["gone", "Z"])
    assert state(server.pid) == "gone"


async def test_a_server_that_ends_at_once_is_told_with_its_last_words() -> None:
    command = [sys.executable, "-c", "print('first'); raise SystemExit('no such model')"]
    with pytest.raises(CannotRunError, match="ended with 1: no such model"):
        async with running(command, lambda: never()):
            pytest.fail("it began")


async def test_a_server_that_never_answers_is_given_up() -> None:
    command = [
        sys.executable,
        "-c",
        "import time; print('still loading', flush=True); time.sleep(60)",
    ]
    with pytest.raises(CannotRunError, match=r"did not answer within 1 s: still loading"):
        async with running(command, lambda: never(), patience=1.0):
            pytest.fail("it began")


async def test_a_program_that_is_not_there_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match=r"there is no .*/bin/python: `make bench` builds it"):
        async with running([tmp_path / "bin/python"], yes):
            pytest.fail("it began")


async def test_what_a_server_leaves_in_its_folder_for_temporary_files_goes_with_it() -> None:
    script = "import tempfile, time; print(tempfile.mkdtemp(), flush=True); time.sleep(60)"
    async with running([sys.executable, "-c", script], yes) as server:
        assert until(lambda: bool(server.log.read_text()))
        left = Path(server.log.read_text().strip())
        assert left.exists()
        assert left.parent == server.log.parent
    assert not left.exists()


def test_a_free_port_is_one_that_can_be_bound() -> None:
    assert 1024 < free_port() < 65536


async def never() -> bool:
    return False
