"""Finding the runtime of a tier by name, so that the library never imports a daemon."""

from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Protocol, cast

from orchestrator.core.model import Runtime
from policies.facts import Tier

GROUP = "isthmus.runtimes"


class RuntimeKind(Protocol):
    """A class of runtimes: what it needs installed, and how to make one."""

    package: str
    extra: str

    def __call__(self, device: str = "", threads: int = 0, graph: str = "") -> Runtime:
        """Make a runtime; nothing heavy is imported yet."""


def find_runtime(tier: Tier) -> RuntimeKind | None:
    """Return the runtime of a tier, or None if what it needs is not installed."""
    for point in entry_points(group=GROUP, name=tier):
        kind = cast(RuntimeKind, point.load())
        if find_spec(kind.package):
            return kind
    return None


def how_to_get(tier: Tier) -> str:
    """Return what to install for a node of that tier."""
    return f"there is no {tier} node in this process: pip install 'isthmus[{tier}]'"
