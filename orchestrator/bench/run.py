"""Running suites one after the other, with a progress bar."""

from collections.abc import Callable, Sequence
from pathlib import Path

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
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console, outcomes = Console(stderr=True), []
    with Progress(*columns, console=console) as progress:
        for suite in suites:
            shown = _Shown(suite.name, progress)
            options = Options(rounds, seconds, store, peers, shown)
            outcome = await run_suite(suite, options, shown)
            on_outcome(outcome)
            outcomes.append(outcome)
            shown("done", 1.0)
    return outcomes


class _Shown:
    """Shows what a suite does: as a bar, or where no bar can move, by a line for each step."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress
        self._bar = progress.add_task(name, total=1.0)
        self._step = ""

    def __call__(self, text: str, part: float = 0.0) -> None:
        self._progress.update(self._bar, description=f"{self._name}: {text}", completed=part)
        step = text.partition(":")[0]
        if step != self._step and not self._progress.console.is_terminal:
            self._progress.console.print(f"{self._name}: {step}")
        self._step = step
