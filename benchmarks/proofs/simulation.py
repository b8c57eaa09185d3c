"""The virtual-time simulation of a session, over very many seeds."""

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from benchmarks.proofs.daemon import process_of
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress

FULL_SEEDS = 1000
TESTS = Path("tests/orchestrator/wire/test_session_simulation.py")
"""They hold their own positive control: an answer that went to the wrong caller is found."""

_A_TEST = 20  # seeds


async def prove(seeds: int = FULL_SEEDS, progress: Progress = no_progress) -> Outcome:
    """Run the simulation's tests in a process of their own, and count what passes."""
    root = Path(__file__).parents[2]
    arguments = ["-v", "-p", "no:cacheprovider", "--timeout", "600", str(root / TESTS)]
    environment = {"ISTHMUS_SIMULATION_SEEDS": str(seeds)}
    with tempfile.TemporaryFile() as log:
        async with process_of("pytest", *arguments, log=log, **environment) as process:
            running, told = asyncio.create_task(process.wait()), 0
            while not running.done():
                await asyncio.wait([running], timeout=1)
                now = passed(_text(log))
                progress((now - told) * _A_TEST)
                told = now
        said = _text(log)
    check = Check(
        f"{seeds:,} seeds with small bodies, and as many with bodies of any size, end in a right "
        "ledger, and a wrong ledger is found",
        said[-900:] if process.returncode else f"{passed(said)} tests of {_A_TEST} seeds passed",
        process.returncode == 0 and passed(said) >= 2 * -(-seeds // _A_TEST),
    )
    return Outcome("simulation", {"seeds": seeds, "python": sys.version.split()[0]}, (check,))


def _text(log: BinaryIO) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def passed(said: str) -> int:
    """Return how many tests of seeds have passed by what pytest says."""
    return len(re.findall(r"test_whatever_is_lost_the_ledger_is_right\[[^\]]*\] PASSED", said))
