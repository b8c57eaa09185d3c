"""The small form; `make proof PART=soak` is the full one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proofs.daemon import Daemon
from benchmarks.proofs.resources import Held
from benchmarks.proofs.soak import Sample, Soak, checks_of, prove

MIB = 2**20


@pytest.mark.timeout(300)
async def test_calls_leave_nothing_behind(store: Path) -> None:
    outcome = await prove(store, calls=20_000)
    assert [check for check in outcome.checks if not check.holds] == []
    assert outcome.check("the positive control").holds


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
        ({"tasks": 0.2}, ["node: tasks"]),
        ({"threads": 1}, ["node: threads"]),
        ({"descriptors": 1}, ["node: descriptors"]),
    ],
)
def test_growth_is_found_and_named(growth: dict[str, float], broken: list[str]) -> None:
    wrong = [check.promise for check in checks_of(soaked(**growth), 20_000) if not check.holds]
    assert [promise.startswith(name) for promise, name in zip(wrong, broken, strict=True)] == [
        True
    ] * len(broken)
