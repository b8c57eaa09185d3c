"""What a suite is: its cases, its columns, and what they are compared with."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.bench.parties import Opening
from orchestrator.bench.turns import Prepared


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table.

    Attributes:
        key: The name of the figure in samples.
        title: What tables call it, with its unit.
        digits: Digits after the point.
        compared: Whether its ratio to the base of its case is shown, too.
        more_is_better: Whether the worst ratio is the smallest.
    """

    key: str
    title: str
    digits: int = 0
    compared: bool = False
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """What others are compared with inside their case and round.

    Attributes:
        short: What headings call it.
        ways: One way, or several of which the best one of the round is taken.
    """

    short: str
    ways: Sequence[str]

    def __str__(self) -> str:
        return self.ways[0] if len(self.ways) == 1 else f"the best of {', '.join(self.ways)}"


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for.

    Attributes:
        rounds: How often everything takes its turn.
        seconds: How long one turn is.
        store: The model store, with MiniLM in it.
        peers: How to start each peer, by name; those a suite has no use for are left alone.
        say: Hears what is done next.
    """

    rounds: int
    seconds: float
    store: Path
    peers: "Sequence[PeerOpenings]"
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PeerOpenings:
    """How to start one peer.

    Attributes:
        name: The peer.
        calls: Starts it for echo, arrays and streams; None if it can do none of them.
        embeddings: Starts it with a model: what tables call it so, and how.
        can: What it can do with calls.
        python: Its environment's Python.
        package: What to import to use it.
    """

    name: str
    calls: Opening
    embeddings: Sequence[tuple[str, Opening]]
    can: frozenset[str]
    python: Path
    package: str


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite.

    Attributes:
        name: What the command line calls it.
        title: What pages call it.
        about: What is measured, in a sentence or two.
        bases: What all are compared with.
        columns: The figures.
        plotted: The key of the figure that is drawn.
        open: Starts what it needs, for the length of the block.
    """

    name: str
    title: str
    about: str
    bases: Sequence[Base]
    columns: Sequence[Column]
    plotted: str
    open: Callable[[Options], AbstractAsyncContextManager[Prepared]]
