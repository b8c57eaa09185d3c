"""What `isthmus bench` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from orchestrator.bench.catalog import find_suites
from orchestrator.bench.embedding import MODEL
from orchestrator.bench.outcome import Outcome
from orchestrator.bench.pages import write_all
from orchestrator.bench.peers import find_peers
from orchestrator.bench.plots import refuse_without_plots
from orchestrator.bench.report import as_tables as tables_of
from orchestrator.bench.run import run_suites


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; see its help."""

    suites: list[str]
    rounds: int
    seconds: float
    peers: str
    environments: Path
    out: Path | None
    store: Path

    def again(self, suite: str) -> str:
        """Return the command that measures a suite again."""
        told = f"--rounds {self.rounds} --seconds {self.seconds:g} --peers {self.peers}"
        return f"isthmus bench {suite} {told}"


async def measure(wanted: Wanted) -> list[Outcome]:
    """Measure.

    Raises:
        UsageError: There is no suite or peer of a name, or nothing to plot with.
    """
    suites = find_suites(wanted.suites)
    store = wanted.store.absolute()
    peers = find_peers(wanted.peers, wanted.environments.absolute(), store / MODEL)
    if wanted.out:
        refuse_without_plots()

    def keep(outcome: Outcome) -> None:
        if wanted.out:
            write_all(outcome, wanted.out, wanted.again(outcome.suite.name))

    return await run_suites(suites, wanted.rounds, wanted.seconds, store, peers, keep)


def as_data(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Return the outcomes for programs."""
    return [outcome.as_data() for outcome in outcomes]


def as_tables(outcomes: list[Outcome]) -> RenderableType:
    """Return the outcomes for people."""
    return Group(*map(tables_of, outcomes))
