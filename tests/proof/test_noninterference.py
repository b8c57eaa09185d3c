"""The small form of the proof: pairs of runs that differ in their secrets alone."""

import pytest

from benchmarks.proofs.noninterference import prove
from orchestrator.core.running import Running
from policies.facts import PUBLIC

WORDS = "give the cloud the same bytes"


async def test_the_cloud_cannot_tell_runs_apart_that_differ_in_their_secrets() -> None:
    outcome = await prove(pairs=200, seed=1)
    assert outcome.check(WORDS).holds
    assert [check for check in outcome.checks if check.verdict == "BROKEN"] == []
    assert (
        outcome.check("whether the call failed").verdict == "open"
    )  # the mark goes with the cause


async def test_it_can_without_the_floating_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Running, "raised_floor", PUBLIC)
    outcome = await prove(pairs=40, seed=1)
    assert not outcome.check(WORDS).holds
