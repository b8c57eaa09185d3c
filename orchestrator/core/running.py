"""Where this code runs: the body's node, its call, its label floor, if it runs in a body."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from orchestrator.core.audit import Audit
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import UsageError
from orchestrator.core.model import Model
from policies.facts import PUBLIC, Clearance, Label, Level, Tier


class NodeHandle(Protocol):
    """What a body may ask of the node it runs on."""

    name: str
    tier: Tier
    clearance: Clearance
    audit: Audit
    reveal_allowed: bool

    async def run_model(self, model: Model, inputs: Any) -> Any:
        """Run this node's form of a model, batched with other callers."""

    def run_model_blocking(self, model: Model, inputs: Any) -> Any:
        """Do the same from a worker thread."""


class Slot(Protocol):
    """A place in the pool of blocking bodies."""

    def given_up(self) -> AbstractContextManager[None]:
        """Let another body run while this one waits."""


@dataclass(slots=True)
class Meter:
    """What a call has used on its node so far, in milliseconds."""

    queue_ms: float = 0.0
    shared_ms: float = 0.0
    """Time inside batches that was spent on other callers' rows."""


class Waits:
    """What a blocking body waits for, so that it can be given up with the call; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._given_up = False

    @contextmanager
    def on(self, future: Future[Any]) -> Iterator[None]:
        """Note that the body waits for a future while the block runs."""
        with self._lock:
            self._futures.add(future)
        if self._given_up:
            future.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._futures.discard(future)

    def give_up(self) -> None:
        """Cancel what the body waits for, and whatever it will wait for."""
        with self._lock:
            self._given_up = True
            futures = list(self._futures)
        for future in futures:
            future.cancel()


@dataclass(slots=True)
class Running:
    """What the code of a body knows of where it runs, and what it has done so far.

    Attributes:
        node: The node.
        floor: The least label of everything the body calls, from its own call.
        deadline: When the body's own answer is due; None outside of a call.
        trace: The trace its calls belong to; empty outside of a call.
        slot: The blocking body's place in the pool, if it has one.
        meter: What the call has used so far.
        trusted: The level up to which what it opens does not raise the floor; a declassifier's
            is the highest that it declares to take.
        depth: How many bodies its call was made from, one inside the other.
        opened: The join of the labels of what it has opened so far.
    """

    node: NodeHandle
    floor: Label = PUBLIC
    deadline: Deadline | None = None
    trace: str = ""
    slot: Slot | None = None
    meter: Meter = field(default_factory=Meter)
    trusted: Level = Level.PUBLIC
    depth: int = 0
    opened: Label = PUBLIC
    _waits: Waits | None = None
    _raising: ClassVar[threading.Lock] = threading.Lock()

    @property
    def raised_floor(self) -> Label:
        """The least label of everything the body calls from now on."""
        if self.opened is PUBLIC:
            return self.floor
        return self.floor.join(self.opened)

    @property
    def waits(self) -> Waits:
        """What its thread waits for, if it is a blocking body; made when first asked for."""
        if self._waits is None:
            self._waits = Waits()
        return self._waits

    def note_opened(self, label: Label) -> None:
        """Raise the floor to the label of a value that the body opens, in any of its threads."""
        if (self.trusted and label.level <= self.trusted) or self.opened.covers(label):
            return
        with self._raising:
            self.opened = self.opened.join(label)

    @contextmanager
    def waiting(self, future: Future[Any]) -> Iterator[None]:
        """Give up the body's slot while it waits for another service or model."""
        with self.waits.on(future), self.slot.given_up() if self.slot else nullcontext():
            yield


_running: ContextVar[Running | None] = ContextVar("isthmus_running", default=None)
_process: list[Running] = []
UNKNOWN = Label(Level.SECRET, frozenset({"unknown"}))
"""The floor of code whose context was lost: nothing it calls may leave a trusted place."""


def running() -> Running | None:
    """Return where this code runs, or None outside of every body."""
    return _running.get() or (_process[-1] if _process else None)


def body_here() -> Running | None:
    """Return the body that runs here, or None in a thread that has lost its context."""
    return _running.get()


def places_here() -> list[Running]:
    """Return where this process and this code run, the innermost last."""
    here = _running.get()
    return [*_process, here] if here else [*_process]


def begin_body(here: Running) -> None:
    """Make all that runs in this context from now on run as a body there."""
    _running.set(here)


class running_as:  # noqa: N801
    """Run the code inside as a body there; a class, since it stands around every call."""

    __slots__ = ("_here", "_token")

    def __init__(self, here: Running) -> None:
        self._here = here

    def __enter__(self) -> None:
        self._token = _running.set(self._here)

    def __exit__(self, *error: object) -> None:
        _running.reset(self._token)


@contextmanager
def process_on(node: NodeHandle) -> Iterator[None]:
    """Count this whole process as inside a node, so that a lost context fails closed."""
    here = Running(node, floor=UNKNOWN)
    _process.append(here)
    try:
        yield
    finally:
        _process.remove(here)


def label_floor() -> Label:
    """Return the least label of everything that this code calls."""
    here = running()
    return here.raised_floor if here else PUBLIC


def node_here(what: str) -> NodeHandle:
    """Return the node this code runs on.

    Raises:
        UsageError: It runs on no node; `what` names who asked.
    """
    if here := running():
        return here.node
    raise UsageError(
        f"{what} runs inside a service's body, on a node; to call it from here make it a "
        "service of its own, for example cloud_service(model)"
    )
