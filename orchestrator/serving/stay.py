"""One call's stay on a node: what it is, what it has used, and how it ended."""

import asyncio

from orchestrator.core.audit import Digest
from orchestrator.core.call import Call, Timings
from orchestrator.core.errors import CallError
from orchestrator.core.limits import Limit
from orchestrator.core.running import Meter, Running
from orchestrator.core.stepping import OnWait
from orchestrator.serving.registry import Served
from policies.facts import Label

_NOTHING_YET = Timings()
_NO_DIGEST = Digest()


class Stay:
    """One call on its way through the data plane.

    Attributes:
        call: The call.
        since: When it came.
        on_wait: Is told when it first waits for something.
        meter: What it has used of models and slots.
        began: When its body last began to work.
        busy_ms: How long its body has worked.
        limit: What ends its wait at the deadline, while it waits.
        outcome: The code of its error, or "OK".
        timings: What it took, once it has left.
        service: Its service's name, once it was found here.
        served: Its service, once it was admitted.
        here: What its body knows of where it runs, likewise.
        label: The join of the labels of its arguments, likewise.
        taken: What a declassifier was given, for the audit log.
    """

    __slots__ = (
        "began", "busy_ms", "call", "here", "label", "limit", "meter", "on_wait", "outcome",
        "served", "service", "since", "taken", "timings",
    )  # fmt: skip

    began: float
    served: Served
    here: Running
    label: Label

    def __init__(self, call: Call, since: float, on_wait: OnWait) -> None:
        self.call = call
        self.since = since
        self.on_wait = on_wait
        self.meter = Meter()
        self.busy_ms = 0.0
        self.outcome = "OK"
        self.limit: Limit | None = None
        self.timings = _NOTHING_YET
        self.service = ""
        self.taken = _NO_DIGEST

    def measure(self, now: float, waiting: int) -> None:
        """Write down what the call took.

        Args:
            now: When it leaves.
            waiting: The calls that are still here.
        """
        queue_ms = self.meter.queue_ms + self.meter.shared_ms
        self.timings = Timings(
            (now - self.since) * 1e3, queue_ms, max(self.busy_ms - queue_ms, 0.0), waiting
        )

    def note(self, error: BaseException, node: str) -> None:
        """Write down how the call failed, and name node and call in the error."""
        if isinstance(error, CallError):
            self.outcome = error.code
            error.node = error.node or node
            error.call_id = error.call_id or self.call.id
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.outcome = "CANCELLED"
