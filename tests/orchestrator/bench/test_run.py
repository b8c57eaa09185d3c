from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.bench.outcome import Outcome
from orchestrator.bench.run import run_suite, run_suites
from orchestrator.bench.suites.suite import Options, Suite
from orchestrator.bench.turns import CannotRunError, Case, Figures, Prepared, Way


async def measure(seconds: float) -> tuple[Figures, int]:
    return {"rate": 1.0}, 1


@pytest.fixture
def easy(suite: Suite) -> Suite:
    @asynccontextmanager
    async def prepared(options: Options) -> AsyncIterator[Prepared]:
        yield Prepared([Case("x", [Way("base", measure)])], {"peer": "it is away"})

    return replace(suite, open=prepared)


@pytest.fixture
def impossible(suite: Suite) -> Suite:
    @asynccontextmanager
    async def prepared(options: Options) -> AsyncIterator[Prepared]:
        raise CannotRunError("there is no runtime")
        yield

    return replace(suite, open=prepared)


async def test_suites_run_one_after_the_other_and_each_is_told_when_done(
    easy: Suite, impossible: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Outcome] = []
    outcomes = await run_suites([easy, impossible], 2, 0.01, Path(), [], told.append)
    assert outcomes == told
    assert [len(outcome.samples) for outcome in outcomes] == [2, 0]
    assert outcomes[0].absent == {"peer": "it is away"}
    assert outcomes[1].absent == {"the suite": "there is no runtime"}
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("calls: ")]
    steps = ["round to warm up", "round 1", "round 2", "done"]  # a line each where no bar moves
    assert lines == [f"calls: {step}" for step in (*steps, "done")]


async def test_progress_goes_to_who_asked_for_it(easy: Suite) -> None:
    told: list[str] = []
    options = Options(1, 0.01, Path(), [], lambda _: None)
    await run_suite(easy, options, lambda text, part: told.append(text))
    assert told == ["round to warm up: x, base", "round 1: x, base"]
