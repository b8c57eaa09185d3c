"""Which ways an edge node has to run a model: its graphs, fused or not, and threads by runs."""

from collections.abc import Sequence

from orchestrator.core.errors import ModelUnavailable, SettingsError
from orchestrator.core.model import Graph, Way

FUSED, UNFUSED = "fused", "unfused"
PRECISIONS = ("full", "int8")

CHOICES = tuple(
    name for kind in PRECISIONS for name in (kind, f"{kind}-{FUSED}", f"{kind}-{UNFUSED}")
)
"""What the settings may name: a precision, or one graph of it."""


def check_choice(wanted: str) -> None:
    """Raise SettingsError if the settings name no graph."""
    if wanted and wanted not in CHOICES:
        raise SettingsError(f"there is no graph {wanted!r}: choose from {', '.join(CHOICES)}")


def layouts(threads: int, cores: int) -> list[tuple[int, int]]:
    """Return how runs may use the cores: (runs side by side, threads of each), best guess first.

    Args:
        threads: Threads of one run, if the settings say so; else 0.
        cores: How many cores there are.
    """
    if threads or cores == 1:
        return [(max(cores // (threads or 1), 1), threads or 1)]
    return [(cores, 1), (1, cores)]


def ways_of(
    name: str, graphs: Sequence[Graph], shapes: Sequence[tuple[int, int]], wanted: str
) -> list[Way]:
    """Return the ways on offer, the one to start with first.

    Args:
        name: The model's, for errors.
        graphs: Its graphs, the exported one first.
        shapes: How runs may use the cores.
        wanted: What the settings name; empty allows every graph of the model's manifest.

    Raises:
        ModelUnavailable: The model has no such graph.
    """
    ways = [
        Way(f"{graph.precision}-{fusing}", runs, threads, graph.tolerance, graph.path)
        for graph in graphs
        for fusing in (FUSED, UNFUSED)
        for runs, threads in shapes
        if wanted in ("", graph.precision, f"{graph.precision}-{fusing}")
    ]
    if not ways:
        raise ModelUnavailable(
            f"model {name!r} has no graph {wanted}: make it with `isthmus models quantise {name}`, "
            "or leave --graph out"
        )
    return ways
