"""The open orchestrator of this context, and the protocols Caller and CallHandler.

A Service reaches the open orchestrator as a Caller; a channel in this process reaches a
node as a CallHandler. The composition root fills both in.
"""

import random
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, cast
from weakref import WeakSet

from orchestrator.core.call import Call, Reply, Result
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import UsageError
from orchestrator.core.home import Home
from orchestrator.core.report import NodeReport
from orchestrator.core.running import open_hosts
from orchestrator.core.spec import Declaration
from orchestrator.core.stepping import OnWait, nobody


class Caller(Protocol):
    """Takes calls: an open orchestrator, or a node that calls its own services.

    Attributes:
        clock: A clock that never goes back, in seconds.
        random: Where the ids of calls come from.
        reveal_allowed: Whether `.reveal` may open labelled values while it is open.
    """

    clock: Clock
    random: random.Random
    reveal_allowed: bool

    @property
    def home(self) -> Home:
        """The loop that its work is done on."""

    def is_prepared(self, declaration: Declaration) -> bool:
        """Say whether a service needs no `prepare` any more."""

    async def prepare(self, declaration: Declaration) -> None:
        """Check and warm a service that is called for the first time; run on the home loop."""

    def invoke(self, call: Call) -> Coroutine[Any, Any, Result[Any]]:
        """Bring a call to a node; run on the home loop. A stream's value is its Chunks."""


class CallHandler(Protocol):
    """A node as a channel sees it."""

    async def handle(self, call: Call, on_wait: OnWait = nobody) -> Reply:
        """Run a call whose arguments came over a channel.

        Args:
            call: The call.
            on_wait: Is told when the call first waits for something; many never do.
        """

    def report(self) -> NodeReport:
        """Say what the node is and how busy."""

    def reports(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Report at once, on every change of state, and every so many seconds."""


_active: ContextVar[Caller | None] = ContextVar("isthmus_caller", default=None)
_closed: WeakSet[Caller] = WeakSet()
"""Callers that were open once: a context that outlives its `with` block still names one."""


def active_caller() -> Caller:
    """Return the caller of this context; else the outermost open one of the process.

    Raises:
        UsageError: None is open.
    """
    caller = _active.get()
    if caller is not None and (caller in open_hosts or caller not in _closed):
        return caller
    caller = cast(Caller, open_hosts[0]) if open_hosts else None
    if caller is None:
        raise UsageError(
            "no orchestrator is open: wrap the call in `with Orchestrator(): ...`, or use .local "
            "to run the body here"
        )
    return caller


def is_open(caller: Caller) -> bool:
    """Say whether a caller is open in this process."""
    return caller in open_hosts


class calling_through:  # noqa: N801
    """Send the calls made inside through a caller; a class, since it stands around every call."""

    __slots__ = ("_caller", "_token")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __enter__(self) -> None:
        self._token = _active.set(self._caller)

    def __exit__(self, *error: object) -> None:
        # A fixture closes in another context than it opened in: there is nothing to put back.
        with suppress(ValueError):
            _active.reset(self._token)


def call_through(caller: Caller) -> None:
    """Send all calls made in this context from now on through a caller."""
    _active.set(caller)


@contextmanager
def opened(caller: Caller) -> Iterator[None]:
    """Make a caller the active one, and the process's default if it is the outermost."""
    _closed.discard(caller)
    open_hosts.append(caller)
    try:
        with calling_through(caller):
            yield
    finally:
        open_hosts.remove(caller)
        _closed.add(caller)
