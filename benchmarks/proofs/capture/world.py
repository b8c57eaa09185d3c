"""What the traffic of the capture proof is made with, and what is written down of it."""

import random
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TextIO

from benchmarks.proofs.capture.tokens import Tokens
from orchestrator.core.errors import CallError, ServiceFailed

AWAY = frozenset(
    {
        "NoRoute", "EndpointUnavailable", "CircuitOpen", "OutcomeUnknown", "Overloaded",
        "DeadlineExceeded",
    }
)  # fmt: skip
"""How a call may end while a node is away."""


@dataclass
class World:
    """One run of traffic.

    Attributes:
        canaries: Texts that must stay.
        numbers: Whole numbers that must stay.
        marks: Texts that may leave.
        source: The dice.
        errors: Where all that callers see of errors is written.
        address: Where the cloud node is.
        arrived: The numbers of the marks of calls that the cloud has answered.
        ends: How calls ended, by kind and end.
        retried: How many calls were answered at a later attempt.
        fell_back: How many were answered by the tier that is not their home.
    """

    canaries: Tokens
    numbers: Tokens
    marks: Tokens
    source: random.Random
    errors: TextIO
    address: str = ""
    arrived: set[int] = field(default_factory=set)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    retried: int = 0
    fell_back: int = 0

    def canary(self) -> str:
        """Return a text that must stay."""
        return self.canaries.text()

    def mark(self) -> tuple[str, int]:
        """Return a text that may leave, and its number."""
        return self.marks.text(), self.marks.given - 1

    def complain(self, error: BaseException) -> str:
        """Write down all that a caller sees of an error, and return what it is."""
        said = [str(error), repr(error), repr(vars(error)), repr(error.__cause__)]
        self.errors.write("\n".join([*said, *traceback.format_exception(error), ""]))
        if isinstance(error, ServiceFailed):
            return f"ServiceFailed {error.exception}"
        return type(error).__name__

    async def end_of(self, call: Any) -> str:
        """Return how a call ended: "answered", or the name of its error."""
        try:
            await call
        except CallError as error:
            return self.complain(error)
        return "answered"


def was_away(end: str) -> bool:
    """Say whether a call ended so because a node was away."""
    return end.removeprefix("ServiceFailed ") in AWAY
