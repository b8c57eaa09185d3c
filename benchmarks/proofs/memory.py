"""Shared memory whose ends are killed, again and again, while tensors are on the way."""

from pathlib import Path

from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from benchmarks.proofs.suites import run_tests

FULL_KILLS = 50
TESTS = Path("tests/e2e/test_shared_memory.py")
"""They hold their own positive control: memory that somebody keeps is found."""


async def prove(kills: int = FULL_KILLS, progress: Progress = no_progress) -> Outcome:
    """Run the tests that kill either side, and say whether something was left."""
    well, passed, said = await run_tests(TESTS, progress, ISTHMUS_SHARED_MEMORY_KILLS=str(kills))
    check = Check(
        f"{kills} kills of either side leave no segment, mapping or descriptor behind at the other",
        f"{passed} tests passed" if well else said,
        well and passed > 0,
    )
    return Outcome("memory", {"kills": kills}, (check,))
