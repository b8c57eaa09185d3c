"""Proofs that are tests in their full form: pytest runs them in a process of its own."""

import asyncio
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

from benchmarks.proofs.daemon import process_of
from benchmarks.proofs.report import Progress, no_progress


async def run_tests(
    path: Path, progress: Progress = no_progress, each: int = 1, **environment: str
) -> tuple[bool, int, str]:
    """Run a file of tests; return whether all passed, how many did, and what pytest said last.

    Args:
        path: The file, from the root of the project.
        progress: Is told of each test that has passed.
        each: How many units of work one test is.
        environment: What makes the tests as large as they shall be.
    """
    root = Path(__file__).parents[2]
    arguments = ["-v", "-p", "no:cacheprovider", "--timeout", "600", str(root / path)]
    with tempfile.TemporaryFile() as log:
        async with process_of("pytest", *arguments, log=log, **environment) as process:
            running, told = asyncio.create_task(process.wait()), 0
            while not running.done():
                await asyncio.wait([running], timeout=1)
                now = passed(_text(log))
                progress((now - told) * each)
                told = now
        said = _text(log)
    return process.returncode == 0, passed(said), said[-900:]


def passed(said: str) -> int:
    """Return how many tests passed by what pytest says."""
    return len(re.findall(r"::\S+(?: \S+)* PASSED", said))


def _text(log: BinaryIO) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")
