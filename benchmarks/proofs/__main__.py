"""Run the big proofs: `python -m benchmarks.proofs [PART ...]`; what they find goes to docs/proofs.

Each part writes docs/proofs/PART.md and PART.json, so that parts can be run alone.
"""

import argparse
import asyncio
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.proofs import (
    abuse,
    audit,
    cancellation,
    cases,
    fuzzing,
    labels,
    memory,
    noninterference,
    pseudonyms,
    recognition,
    report,
    simulation,
    soak,
)
from benchmarks.proofs.capture import prove as capture
from benchmarks.proofs.checksums import add_checksum_model
from benchmarks.proofs.report import Outcome, machine, markdown

DOCS = Path(__file__).parents[2] / "docs" / "proofs"

Proof = Coroutine[Any, Any, Outcome]
Part = tuple[int, Callable[[report.Progress], Proof]]
"""How many units of work it has, and what does it."""


def parts(options: argparse.Namespace, store: Path) -> dict[str, Part]:
    """Return all parts, as large as the options say."""
    attacks = len(cases.BY_CALLERS) + len(cases.BY_NODES)
    fuzzed = len(fuzzing.TARGETS) * options.fuzz_seconds
    controls = len(fuzzing.PLANTED) * min(options.fuzz_seconds, fuzzing.CONTROL_SECONDS)
    return {
        "cancellation": (
            2 * options.cancelled_calls,
            lambda told: cancellation.prove(store, options.cancelled_calls, options.seed, told),
        ),
        "abuse": (attacks, lambda told: abuse.prove(store, abuse.SECONDS, told)),
        "capture": (
            options.messages,
            lambda told: capture.prove(
                options.messages, options.seed, told, by_proxy=options.by_proxy
            ),
        ),
        "simulation": (2 * options.seeds, lambda told: simulation.prove(options.seeds, told)),
        "fuzzing": (
            fuzzed + controls,
            lambda told: asyncio.to_thread(fuzzing.prove, options.fuzz_seconds, told),
        ),
        "audit": (
            options.audit_kills + audit.FULL_ROUNDS,
            lambda told: audit.prove(options.audit_kills, seed=options.seed, progress=told),
        ),
        "labels": (5, lambda told: labels.prove(options.steps, told)),
        "noninterference": (
            options.pairs,
            lambda told: noninterference.prove(options.pairs, options.seed, told),
        ),
        "memory": (4, lambda told: memory.prove(options.kills, told)),
        "pseudonyms": (
            2 * options.texts,
            lambda told: pseudonyms.prove(options.texts, options.seed, told),
        ),
        "recognition": (
            recognition.units(),
            lambda told: asyncio.to_thread(
                recognition.prove, options.texts_each, options.seed, told
            ),
        ),
        "soak": (
            options.calls,
            lambda told: soak.prove(store, options.calls, options.in_flight, options.seed, told),
        ),
    }


async def run(name: str, part: Part, console: Console) -> tuple[Outcome, float]:
    """Run one part with a progress bar; return what it found and its seconds."""
    total, proof = part
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=total)
        outcome = await proof(lambda more: bar.advance(task, more))
    return outcome, time.monotonic() - began


def write(outcome: Outcome, seconds: float, folder: Path) -> None:
    """Write what a part found as JSON and as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {"at": datetime.now(UTC).date().isoformat(), "seconds": round(seconds), **machine()}
    data = {"machine": named, **dataclasses.asdict(outcome)}
    (folder / f"{outcome.part}.json").write_text(json.dumps(data, indent=1) + "\n")
    where = ", ".join(f"{key} {value}" for key, value in named.items() if key != "seconds")
    (folder / f"{outcome.part}.md").write_text(f"{markdown(outcome, seconds)}\nOn {where}.\n")


def table(outcome: Outcome) -> Table:
    """Return what a part found as a table for people."""
    shown = Table("promise", "seen", "", title=outcome.part, title_justify="left")
    for check in outcome.checks:
        shown.add_row(check.promise, check.seen, check.verdict)
    return shown


def run_each(names: list[str], asked: list[str]) -> int:
    """Run parts in processes of their own, so that none has what another left in its memory."""
    command = [sys.executable, "-m", "benchmarks.proofs"]
    rest = [argument for argument in sys.argv[1:] if argument not in asked]
    return max([subprocess.run([*command, name, *rest], check=False).returncode for name in names])


def run_one(name: str, options: argparse.Namespace) -> int:
    """Run one part, write and print what it found; return 1 if a promise is broken."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        add_checksum_model(store)
        outcome, seconds = asyncio.run(run(name, parts(options, store)[name], console))
    write(outcome, seconds, options.docs)
    console.print(table(outcome))
    return int(any(check.verdict == "BROKEN" for check in outcome.checks))


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proofs", description=__doc__)
    parser.add_argument("parts", nargs="*", help="which parts; all if none is named")
    parser.add_argument("--calls", type=int, default=soak.FULL_CALLS, help="of the soak")
    parser.add_argument("--in-flight", type=int, default=64, help="calls of the soak at a time")
    parser.add_argument("--cancelled-calls", type=int, default=cancellation.FULL_CALLS)
    parser.add_argument("--messages", type=int, default=capture.FULL_MESSAGES, help="captured")
    parser.add_argument(
        "--by-proxy", action="store_true", help="capture in a proxy, not between namespaces"
    )
    parser.add_argument("--seeds", type=int, default=simulation.FULL_SEEDS)
    parser.add_argument("--steps", type=int, default=labels.FULL_STEPS, help="of random programs")
    parser.add_argument("--pairs", type=int, default=noninterference.FULL_PAIRS, help="of runs")
    parser.add_argument("--kills", type=int, default=memory.FULL_KILLS, help="of each side")
    parser.add_argument("--audit-kills", type=int, default=audit.FULL_KILLS, help="of the log")
    parser.add_argument("--fuzz-seconds", type=int, default=fuzzing.FULL_SECONDS)
    parser.add_argument("--texts-each", type=int, default=recognition.FULL_EACH, help="a template")
    parser.add_argument("--texts", type=int, default=pseudonyms.FULL_TEXTS, help="to pseudonymise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the results go")
    options = parser.parse_args()
    known = list(parts(options, Path()))
    if unknown := set(options.parts) - set(known):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    names = options.parts or known
    return run_one(names[0], options) if len(names) == 1 else run_each(names, options.parts)


if __name__ == "__main__":
    sys.exit(main())
