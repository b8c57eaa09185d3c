"""The virtual-time simulation of a session, over very many seeds."""

import sys
from pathlib import Path

from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from benchmarks.proofs.suites import run_tests

FULL_SEEDS = 1000
TESTS = Path("tests/orchestrator/wire/test_session_simulation.py")
"""They hold their own positive control: an answer that went to the wrong caller is found."""

_A_TEST = 20  # seeds


async def prove(seeds: int = FULL_SEEDS, progress: Progress = no_progress) -> Outcome:
    """Run the simulation's tests, and count what passes."""
    well, passed, said = await run_tests(
        TESTS, progress, _A_TEST, ISTHMUS_SIMULATION_SEEDS=str(seeds)
    )
    check = Check(
        f"{seeds:,} seeds with small bodies, and as many with bodies of any size, end in a right "
        "ledger, and a wrong ledger is found",
        f"{passed} tests of {_A_TEST} seeds passed" if well else said,
        well and passed >= 2 * -(-seeds // _A_TEST),
    )
    return Outcome("simulation", {"seeds": seeds, "python": sys.version.split()[0]}, (check,))
