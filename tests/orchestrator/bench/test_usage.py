import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from orchestrator.bench.usage import Usage, cpu_seconds, family, private_mb, usable_cores

BUSY = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True)\ninput()"


@pytest.fixture
def busy() -> Iterator["subprocess.Popen[str]"]:
    """A process that has used a fifth of a second and now waits."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", BUSY], **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "done\n"
    yield process
    process.communicate("\n")


def test_the_cpu_time_of_another_process_is_read_to_the_nanosecond(
    busy: "subprocess.Popen[str]",
) -> None:
    assert 0.2 <= cpu_seconds(busy.pid) < 2.0
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)


def test_a_process_that_has_ended_has_used_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert cpu_seconds(ended.pid) == 0.0
    assert private_mb([ended.pid]) == 0.0


def test_a_family_is_a_process_with_its_children_and_theirs() -> None:
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    child = subprocess.Popen([sys.executable, "-c", grandchild], stdin=subprocess.PIPE)
    try:
        end = time.monotonic() + 30
        while len(family([child.pid])) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(family([child.pid])) == 2
        assert child.pid in family([child.pid])
        assert family([child.pid]) < family([os.getpid()])
    finally:
        child.communicate(b"\n")


def test_what_a_server_uses_is_neither_ours_nor_that_of_others() -> None:
    before = Usage(10.0, 1.0, 2.0, 100.0)
    used = before.until(Usage(12.0, 1.5, 2.75, 102.25))
    assert (used.at, used.own, used.servers, used.everyone) == (2.0, 0.5, 0.75, 2.25)
    assert used.foreign == pytest.approx(1.0 / 2.0 / usable_cores())


def test_children_that_have_ended_count_as_ours() -> None:
    before = Usage.now()
    subprocess.run([sys.executable, "-c", BUSY], input=b"\n", check=True, capture_output=True)
    assert before.until(Usage.now()).own >= 0.19


def test_private_memory_grows_with_what_a_process_holds() -> None:
    before = private_mb([os.getpid()])
    with mmap.mmap(-1, 50_000_000) as held:  # the heap may have room that nothing uses
        held.write(b"x" * 50_000_000)
        assert private_mb([os.getpid()]) - before > 40
