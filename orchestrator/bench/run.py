"""Running suites one after the other, with a progress bar."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from orchestrator.bench.machine import Machine
from orchestrator.bench.outcome import Outcome
from orchestrator.bench.suites.suite import Options, PeerOpenings, Suite
from orchestrator.bench.turns import CannotRunError, Told, take_turns

_DESCRIPTION = "{task.description}"


async def run_suite(suite: Suite, options: Options, on_turn: Told = lambda *_: None) -> Outcome:
    """Start what a suite needs, measure, and end it all."""
    machine = Machine.here()
    try:
        async with suite.open(options) as prepared:
            samples = await take_turns(prepared, options.rounds, options.seconds, on_turn)
            absent = dict(prepared.absent)
    except CannotRunError as error:
        samples, absent = [], {"the suite": str(error)}
    return Outcome(suite, samples, absent, machine, options.rounds, options.seconds)


async def run_suites(
    suites: Sequence[Suite],
    rounds: int,
    seconds: float,
    store: Path,
    peers: Sequence[PeerOpenings],
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Run suites and show on standard error how far they are.

    Args:
        suites: What to measure.
        rounds: How often everything takes its turn.
        seconds: How long one turn is.
        store: The model store.
        peers: How to start the peers.
        on_outcome: Hears of each suite when it is done: a later one may be interrupted.
    """
    columns = BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn(_DESCRIPTION)
    outcomes = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for suite in suites:
            bar = progress.add_task(suite.name, total=1.0)

            def turn(text: str, part: float = 0.0, suite: Suite = suite, bar: Any = bar) -> None:
                progress.update(bar, description=f"{suite.name}: {text}", completed=part)

            outcome = await run_suite(suite, Options(rounds, seconds, store, peers, turn), turn)
            on_outcome(outcome)
            outcomes.append(outcome)
            progress.update(bar, description=f"{suite.name}: done", completed=1.0)
    return outcomes
