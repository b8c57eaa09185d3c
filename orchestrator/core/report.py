"""What a node says of itself: its state, its load, and what it serves."""

from dataclasses import dataclass
from typing import Literal

from policies.facts import Clearance, Tier

State = Literal["starting", "ready", "draining", "blocked"]
"""The life of a node: only a ready one takes calls."""


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """A service on a node: what it is called with, and the mean work of one call in ms."""

    name: str
    version: str
    signature: str
    stream: bool
    service_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model loaded on a node.

    Attributes:
        name: Its name in the store.
        version: A digest of its files.
        device: What it runs on.
        batched: Whether callers share its runs; not if their answers would depend on each other.
        graph: Which graph runs, and how: "int8-unfused, 2 runs x 1 thread".
    """

    name: str
    version: str
    device: str
    batched: bool = True
    graph: str = ""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node says of itself: never trusted for more than its own load and limits.

    Attributes:
        name: What the operator calls it.
        tier: Where it stands.
        state: Whether it takes calls.
        clearance: The most private data it accepts.
        software: The version of the library it runs.
        device: What it computes on.
        waiting: Calls in the node, from all callers.
        parallelism: Calls it works on side by side.
        uptime_ms: Milliseconds since it started.
        services: What it serves.
        models: What it has loaded.
        socket: The name of its socket for sessions on the same machine; empty if it has none.
        machine: What tells its machine from others; empty if it has no socket.
    """

    name: str
    tier: Tier
    state: State
    clearance: Clearance
    software: str = ""
    device: str = ""
    waiting: int = 0
    parallelism: int = 1
    uptime_ms: float = 0.0
    services: tuple[ServiceReport, ...] = ()
    models: tuple[ModelReport, ...] = ()
    socket: str = ""
    machine: str = ""
