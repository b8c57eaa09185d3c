"""The small form; `make proof PART=soak` is the full one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proofs.daemon import Daemon
from benchmarks.proofs.resources import Held
from benchmarks.proofs.soak import Sample, Soak, checks_of

MIB = 2**20


@pytest.mark.timeout(300)
def test_calls_leave_nothing_behind(tmp_path: Path) -> None:
    """In a process of its own: what other tests have left in this one would hide growth."""
    command = [sys.executable, "-m", "benchmarks.proofs", "soak", "--calls", "20000"]
    done = subprocess.run([*command, "--docs", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert [check for check in found["checks"] if not check["holds"]] == []
    assert "the positive control" in found["checks"][-1]["promise"]
    assert found["figures"]["samples"][-1]["calls"] == 20_000
    assert "planted leaks are seen" in (tmp_path / "soak.md").read_text()


def soaked(**growth: float) -> Soak:
    """Return a soak of 20,000 calls whose node grew by so much of something each 1,000 calls."""
    soak = Soak(None, Daemon(0, "", 0), seed=1)  # type: ignore[arg-type]
    soak.ends.update(answered=19_000, cancelled=500, late=500)
    start = Held(50 * MIB, threads=9, descriptors=16, tasks=7)
    for number in range(20):
        grown: dict[str, Any] = {
            name: int(getattr(start, name) + each * number) for name, each in growth.items()
        }
        soak.samples.append(Sample(1000 * (number + 1), start, replace(start, **grown)))
    return soak


@pytest.mark.parametrize(
    ("growth", "broken"),
    [
        ({}, []),
        ({"memory": 190_000}, []),
        ({"memory": 210_000}, ["node: memory"]),
        ({"tasks": 1}, ["node: tasks"]),
        ({"threads": 1}, ["node: threads"]),
        ({"descriptors": 1}, ["node: descriptors"]),
    ],
)
def test_growth_is_found_and_named(growth: dict[str, float], broken: list[str]) -> None:
    checks = checks_of(soaked(**growth), 20_000, in_flight=1)
    found = [" ".join(check.promise.split()[:2]) for check in checks if not check.holds]
    assert found == broken
