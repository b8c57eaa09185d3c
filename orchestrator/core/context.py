"""The protocols Caller and CallHandler, and the open orchestrator of this context.

A Service reaches the open orchestrator as a Caller; a channel in this process reaches a
node as a CallHandler. The composition root fills both in.
"""

import random
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Protocol, cast

from orchestrator.core.audit import Audit
from orchestrator.core.call import Call, Reply, Result
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import UsageError
from orchestrator.core.home import Home
from orchestrator.core.opened import call_through as call_through
from orchestrator.core.opened import calling_through as calling_through
from orchestrator.core.opened import is_open as is_open
from orchestrator.core.opened import open_here
from orchestrator.core.opened import opened as opened
from orchestrator.core.report import NodeReport
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

    @property
    def audit(self) -> Audit:
        """Where it writes down what happens to labelled data."""

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


def active_caller() -> Caller:
    """Return the caller of this context; else the outermost open one of the process.

    Raises:
        UsageError: None is open.
    """
    caller = open_here()
    if caller is None:
        raise UsageError(
            "no orchestrator is open: wrap the call in `with Orchestrator(): ...`, or use .local "
            "to run the body here"
        )
    return cast(Caller, caller)
