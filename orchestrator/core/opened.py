"""Which callers are open in this process and this context, and what they have a say in.

Apart from `context`, whose Caller knows services, and so labels, which need this.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakSet

from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.running import places_here, running


class Host(Protocol):
    """What labels ask of an open caller.

    Attributes:
        reveal_allowed: Whether `.reveal` may open labelled values while it is open.
    """

    reveal_allowed: bool

    @property
    def audit(self) -> Audit:
        """Where it writes down what happens to labelled data."""


_active: ContextVar[Host | None] = ContextVar("isthmus_caller", default=None)
_open: list[Host] = []
_closed: WeakSet[Host] = WeakSet()
"""Callers that were open once: a context that outlives its `with` block still names one."""


def open_here() -> Host | None:
    """Return the caller of this context; else the outermost open one of the process, if any."""
    caller = _active.get()
    if caller is not None and (caller in _open or caller not in _closed):
        return caller
    return _open[0] if _open else None


def audit_here() -> Audit:
    """Return the audit of the node that this code runs on, else of the open caller."""
    if here := running():
        return here.node.audit
    caller = open_here()
    return caller.audit if caller is not None else LoggedAudit()


def who_forbids_reveal() -> str:
    """Return what forbids `.reveal` here: the node, or an open orchestrator; "" if nothing."""
    nodes = (place.node for place in places_here())
    if name := next((node.name for node in nodes if not node.reveal_allowed), ""):
        return f"the settings of node {name}"
    allowed = all(host.reveal_allowed for host in _open)
    return "" if allowed else "the settings of the open orchestrator"


def is_open(caller: Host) -> bool:
    """Say whether a caller is open in this process."""
    return caller in _open


class calling_through:  # noqa: N801
    """Send the calls made inside through a caller; a class, since it stands around every call."""

    __slots__ = ("_caller", "_token")

    def __init__(self, caller: Host) -> None:
        self._caller = caller

    def __enter__(self) -> None:
        self._token = _active.set(self._caller)

    def __exit__(self, *error: object) -> None:
        # A fixture closes in another context than it opened in: there is nothing to put back.
        with suppress(ValueError):
            _active.reset(self._token)


def call_through(caller: Host) -> None:
    """Send all calls made in this context from now on through a caller."""
    _active.set(caller)


@contextmanager
def opened(caller: Host) -> Iterator[None]:
    """Make a caller the active one, and the process's default if it is the outermost."""
    _closed.discard(caller)
    _open.append(caller)
    try:
        with calling_through(caller):
            yield
    finally:
        _open.remove(caller)
        _closed.add(caller)
