"""The state machine of labels, over very many steps."""

import sys
from pathlib import Path

from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from benchmarks.proofs.suites import run_tests

FULL_STEPS = 10_000
TESTS = Path("tests/proof/test_labels.py")
"""They hold their own positive controls: what is switched off is found."""


async def prove(steps: int = FULL_STEPS, progress: Progress = no_progress) -> Outcome:
    """Run the state machine's tests."""
    well, passed, said = await run_tests(TESTS, progress, 1, ISTHMUS_LABEL_STEPS=str(steps))
    check = Check(
        f"in {steps:,} steps of random programs nothing derived from a labelled value has a lower "
        "label, or comes to a node below it, or stands in a log or an error, without an audited "
        "declassifier; the guard alone keeps it so; and without the floating label, the join, or "
        "the checks a counterexample is found",
        f"{passed} tests passed" if well else said,
        well and passed >= 5,
    )
    return Outcome("labels", {"steps": steps, "python": sys.version.split()[0]}, (check,))
