"""What `isthmus bench` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from orchestrator.bench.catalog import find_suites
from orchestrator.bench.embedding import MODEL
from orchestrator.bench.outcome import Outcome
from orchestrator.bench.peers import find_peers
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


async def measure(wanted: Wanted) -> list[Outcome]:
    """Measure.

    Raises:
        UsageError: There is no suite or peer of a name.
    """
    suites = find_suites(wanted.suites)
    store = wanted.store.absolute()
    peers = find_peers(wanted.peers, wanted.environments.absolute(), store / MODEL)
    return await run_suites(suites, wanted.rounds, wanted.seconds, store, peers)


def as_data(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Return the outcomes for programs."""
    return [outcome.as_data() for outcome in outcomes]


def as_tables(outcomes: list[Outcome]) -> RenderableType:
    """Return the outcomes for people."""
    return Group(*map(tables_of, outcomes))
