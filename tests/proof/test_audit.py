"""The small form of the proof of the audit log."""

import random
from pathlib import Path

import pytest

from benchmarks.proofs.audit import kill_writers, prove, race, spoil
from benchmarks.proofs.report import no_progress


@pytest.mark.timeout(300)
async def test_nothing_promised_is_lost_and_everything_done_to_the_file_shows() -> None:
    outcome = await prove(kills=3, rounds=2, seconds=0.2)
    assert [check.promise for check in outcome.checks if not check.holds] == []
    assert outcome.figures["group_entries_per_commit"] > 1
    assert outcome.figures["each_entries_per_commit"] == 1
    assert outcome.figures["group_p50_ms"] > 0


def test_a_log_that_cannot_be_opened_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_bytes(b"rubbish\n")
    killed = kill_writers(tmp_path, 1, random.Random(2), no_progress)
    assert (killed.promised, "damaged" in killed.problem) == (0, True)


def test_changes_show_by_the_chain_and_cuts_by_the_anchor(tmp_path: Path) -> None:
    assert spoil(tmp_path, 5, random.Random(3)) == (5, 0, 5)


async def test_each_way_has_its_turn_in_every_round(tmp_path: Path) -> None:
    speeds = await race(tmp_path, 2, 0.05, no_progress)
    assert {name: len(turns) for name, turns in speeds.items()} == {
        "group": 2, "each": 2, "alone": 2,
    }  # fmt: skip
