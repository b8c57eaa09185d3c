"""One request in flight and what comes back: Call, Reply, Result."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any, Generic, Literal, Protocol, TypeVar

from orchestrator.core.deadline import Deadline
from policies.facts import PUBLIC, Decision, Label, Placement, Tier
from policies.record import record

R_co = TypeVar("R_co", covariant=True)

Privacy = Literal["refuse", "local", "pseudonymise"]
"""What becomes of a call of a cloud service whose label no cloud node is cleared for."""


@record
class Call:
    """One request in flight; it carries everything explicitly.

    Attributes:
        id: 16 hexadecimal digits, also the span of its trace.
        trace: 32 hexadecimal digits, shared with the call it was made from.
        service: The service's name.
        version: The digest of the signature the caller knows; empty accepts any.
        arguments: Argument name to value.
        label: The join of the labels of all arguments and of the caller's floor.
        deadline: When the answer is due.
        placement: The tiers it may use.
        stream: Whether the answer is a stream of values.
        idempotent: Whether running it twice does no harm.
        attempt: 1 for the first.
        depth: How many bodies it was made from, one inside the other.
        packed: The arguments as channels take them, once somebody has packed them.
        privacy: What becomes of it if no cloud node is cleared for it; for the caller's side.
        floor: The part of its label that comes from the body that calls; likewise.
    """

    id: str
    trace: str
    service: str
    version: str
    arguments: Mapping[str, Any] = field(repr=False)
    label: Label
    deadline: Deadline
    placement: Placement
    stream: bool = False
    idempotent: bool = False
    attempt: int = 1
    depth: int = 0
    packed: Any = field(default=None, repr=False, compare=False)
    privacy: Privacy = "refuse"
    floor: Label = PUBLIC

    def packed_as(self, packed: Any) -> "Call":
        """Return the same call with its arguments packed; `replace` would take far longer."""
        return Call(
            self.id, self.trace, self.service, self.version, self.arguments, self.label,
            self.deadline, self.placement, self.stream, self.idempotent, self.attempt, self.depth,
            packed,
        )  # fmt: skip

    def unpacked_as(self, arguments: Mapping[str, Any]) -> "Call":
        """Return the same call with the arguments that came out of a channel."""
        return Call(
            self.id, self.trace, self.service, self.version, arguments, self.label, self.deadline,
            self.placement, self.stream, self.idempotent, self.attempt, self.depth,
        )  # fmt: skip

    @property
    def trace_parent(self) -> str:
        """The W3C trace context of work done for this call."""
        return f"00-{self.trace}-{self.id}-01"


@record
class Timings:
    """What a node measured of one call, in milliseconds, and how busy it was then.

    Attributes:
        node_ms: From receipt to answer.
        queue_ms: Of these, waiting for a slot or for a batch.
        service_ms: Of these, work for this call alone (its share of a batch).
        waiting: Calls in the node when it answered, from all callers.
    """

    node_ms: float = 0.0
    queue_ms: float = 0.0
    service_ms: float = 0.0
    waiting: int = 0


class ChunkSource(Protocol):
    """Gives the values of a stream, and can be told to stop."""

    def __anext__(self) -> Awaitable[Any]: ...

    async def aclose(self) -> None:
        """End the stream early and free what it holds."""


class Chunks(AsyncIterator[Any]):
    """The values of a stream as they come.

    Args:
        source: Gives the values.
        timings: Tells what the node measured, once the source has ended.
    """

    def __init__(self, source: ChunkSource, timings: Callable[[], Timings]) -> None:
        self._source = source
        self._timings = timings

    @property
    def timings(self) -> Timings:
        """What the node measured; zeros before the end."""
        return self._timings()

    def __anext__(self) -> Awaitable[Any]:
        return self._source.__anext__()

    async def aclose(self) -> None:
        """End the stream early and free what it holds."""
        await self._source.aclose()


@record
class Reply:
    """A node's answer to one attempt.

    Attributes:
        value: The result; for a stream, its Chunks.
        timings: What the node measured; for a stream they come with its end.
    """

    value: Any = field(repr=False)
    timings: Timings = Timings()


@record
class Result(Generic[R_co]):
    """A call's value and how it came about.

    Attributes:
        value: What the service returned; None for a stream.
        tier: Where it ran.
        node: The node it ran on.
        label: The label the call travelled under.
        decision: Why it ran there.
        timings: What the node measured, in milliseconds.
        total_ms: From the call to its answer, at the caller.
        attempts: The nodes tried, in order; the last one answered.
        call_id: The call's id, as it stands in logs and traces.
    """

    value: R_co = field(repr=False)
    tier: Tier
    node: str
    label: Label
    decision: Decision = field(repr=False)
    timings: Timings
    total_ms: float
    attempts: tuple[str, ...]
    call_id: str

    def with_value(self, value: Any) -> "Result[Any]":
        """Return the same story with another value."""
        return Result(
            value, self.tier, self.node, self.label, self.decision, self.timings, self.total_ms,
            self.attempts, self.call_id,
        )  # fmt: skip
