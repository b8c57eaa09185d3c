from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.bench.machine import Machine
from orchestrator.bench.outcome import Outcome
from orchestrator.bench.suites.suite import Base, Column, Options, Suite
from orchestrator.bench.turns import Figures, Prepared, Sample

MACHINE = Machine("a processor", 2, 8.0, "a system", "a Python", {"grpcio": "1"}, 0.5)


@asynccontextmanager
async def nothing(options: Options) -> AsyncIterator[Prepared]:
    """Measure nothing."""
    yield Prepared([])


@pytest.fixture
def suite() -> Suite:
    columns = (
        Column("rate", "calls/s", compared=True, more_is_better=True),
        Column("ms", "p50 ms", 1, compared=True),
        Column("mb", "MB"),
    )
    about = "Two ways to call."
    return Suite(
        "calls",
        "Calls",
        about,
        [Base("b", ["base"]), Base("best", ["one", "other"])],
        columns,
        "rate",
        nothing,
    )


@pytest.fixture
def samples() -> list[Sample]:
    """Three rounds, of which the second was a slow one for everybody."""

    def sample(number: int, way: str, rate: float, ms: float) -> Sample:
        figures: Figures = {"rate": rate, "ms": ms}
        return Sample(number, "64 in flight", way, figures, 0.1 * number)

    return [
        sample(1, "base", 100, 10),
        sample(1, "isthmus", 300, 5),
        sample(2, "isthmus", 30, 50),
        sample(2, "base", 10, 100),
        sample(3, "base", 100, 10),
        sample(3, "isthmus", 200, 20),
    ]


@pytest.fixture
def outcome(suite: Suite, samples: list[Sample]) -> Outcome:
    return Outcome(suite, samples, {"peer": "it is not installed"}, MACHINE, 3, 0.5)


@pytest.fixture
def tiny(minilm_store: Path) -> Options:
    """One round as short as can be, without peers."""
    return Options(1, 0.05, minilm_store, [], lambda _: None)
