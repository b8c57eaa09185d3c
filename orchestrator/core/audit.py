"""What is written down of labelled data: the events, and Audit, which takes them.

An event holds ids, names, labels, counts and keyed digests, and is checked for it when it is
made. The one free text is the reason of a reveal, cut to a short line.
"""

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import AuditUnavailable, DeadlineExceeded
from policies.facts import PUBLIC, Label

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_log = logging.getLogger("isthmus.audit")

_LONGEST = 200
"""Characters of a name or a reason."""

_BLOCKED_SECONDS = 10.0
"""The longest wait of a reveal for its entry."""

_HEX = re.compile(r"(?:[0-9a-f]{64})?")


@dataclass(frozen=True, slots=True)
class Digest:
    """A keyed digest of a value: HMAC-SHA256 in hexadecimal digits, or none at all.

    Raises:
        ValueError: It is something else; the text is not repeated.
    """

    hex: str = ""

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise ValueError("a digest has 64 hexadecimal digits, or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to labelled data.

    Attributes:
        call: The call's id.
        trace: The trace it belongs to.
        service: The service's name.
        version: The digest of its signature.
        node: The node that it happened on, or that a call goes to.
        label: The label of the data.

    Raises:
        TypeError: A field holds what no event may hold.
    """

    kind: ClassVar[str]

    call: str = ""
    trace: str = ""
    service: str = ""
    version: str = ""
    node: str = ""
    label: Label = PUBLIC

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if type(value) is str:
                if len(value) > _LONGEST or not value.isprintable():
                    object.__setattr__(self, name, _one_line(value))
            elif type(value) not in (int, Label, Digest):
                object.__setattr__(self, name, _names(name, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """A labelled call is about to be sent.

    Attributes:
        attempt: 1 for the first.
        candidates: The nodes it may go to, best first.
        refused: Each node it may not go to, and the filter that says so.
    """

    kind = "decision"

    attempt: int = 1
    candidates: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Event):
    """A labelled call has arrived at a node and is about to run there.

    Attributes:
        attempt: 1 for the first.
        models: The models it may use, each as name and digest of its files.
    """

    kind = "accepted"

    attempt: int = 1
    models: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declassified(Event):
    """A declassifier lowered a label.

    Attributes:
        target: The label of what it gave.
        taken: What went in.
        given: What came out.
        count: 1 for a call; for a stream, which of its values.
        models: The models it may have used, each as name and digest of its files.
    """

    kind = "declassified"

    target: Label = PUBLIC
    taken: Digest = Digest()
    given: Digest = Digest()
    count: int = 1
    models: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pseudonymised(Event):
    """Labelled text was given pseudonyms, and goes on under a lower label.

    Attributes:
        target: The label it goes on under.
        found: How many values of each kind have a pseudonym now: kind and number.
    """

    kind = "pseudonymised"

    target: Label = PUBLIC
    found: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed(Event):
    """A value was opened outside of what labels guard.

    Attributes:
        reason: Why, in the words of the program.
        digest: The value.
    """

    kind = "revealed"

    reason: str = ""
    digest: Digest = Digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """Labelled data was kept from going somewhere.

    Attributes:
        rule: What refused it.
        refused: Each node it may not go to, and the filter that says so.
    """

    kind = "refused"

    rule: str = ""
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased(Event):
    """What a store kept of a person was deleted.

    Attributes:
        store: The store.
        digest: The person.
        count: How many things were deleted.
    """

    kind = "erased"

    store: str = ""
    digest: Digest = Digest()
    count: int = 0


class Audit(Protocol):
    """Takes events, and says when each is safe; may be used from any thread."""

    durable: bool
    """Whether events are kept: then labelled calls wait for theirs."""

    def record(self, event: Event) -> Future[None]:
        """Take an event; the future ends when it is kept, or with AuditUnavailable."""

    def record_here(self, event: Event) -> asyncio.Future[None]:
        """Do the same with a future of the running loop; all of a group end in one turn of it."""

    def digest(self, value: object) -> Digest:
        """Return the keyed digest of any value; none where nothing is kept."""

    def metrics(self) -> "Iterator[Metric]":
        """Yield the Prometheus families."""


class LoggedAudit:
    """Keeps nothing: tells the log `isthmus.audit` of reveals and declassifications."""

    durable = False

    def __init__(self) -> None:
        self._done: Future[None] = Future()
        self._done.set_result(None)

    def record(self, event: Event) -> Future[None]:
        """Write a line of the log, for what has one."""
        log_event(event)
        return self._done

    def record_here(self, event: Event) -> asyncio.Future[None]:
        """Do the same for the running loop."""
        return asyncio.wrap_future(self.record(event))

    def digest(self, value: object) -> Digest:
        """Return none."""
        return Digest()

    def metrics(self) -> "Iterator[Metric]":
        """Yield nothing."""
        yield from ()


def log_event(event: Event) -> None:
    """Write what opened or lowered a label to the log `isthmus.audit`."""
    if isinstance(event, Revealed):
        _log.warning("revealed a value labelled %s: %s", event.label, event.reason)
    elif isinstance(event, Declassified):
        _log.info("%s lowered a value labelled %s", event.service, event.label)
    elif isinstance(event, Pseudonymised):
        counts = ", ".join(f"{count} {kind}" for kind, count in event.found)
        _log.info(
            "%s pseudonymised call %s from %s to %s: %s",
            event.service, event.call, event.label, event.target,
            counts or "no private values found",
        )  # fmt: skip


async def kept(audit: Audit, event: Event, deadline: Deadline) -> None:
    """Record an event and wait until it is safe.

    Raises:
        AuditUnavailable: It cannot be kept.
        DeadlineExceeded: That took too long.
    """
    if not audit.durable:
        audit.record(event)
        return
    try:
        async with asyncio.timeout(max(deadline.left(), 0.0)):
            await audit.record_here(event)
    except TimeoutError:
        raise DeadlineExceeded(call_id=event.call) from None


def keep(audit: Audit, event: Event) -> None:
    """Do the same in any thread, which stands still meanwhile.

    Raises:
        AuditUnavailable: It cannot be kept, or not in time.
    """
    try:
        audit.record(event).result(_BLOCKED_SECONDS)
    except TimeoutError:
        raise AuditUnavailable from None


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])


def _names(field: str, value: Any) -> tuple[Any, ...]:
    """Return names, or pairs of names, each as one short line."""
    if type(value) is not tuple:
        raise TypeError(f"{field} of an audit event is neither a name, a label nor a digest")
    return tuple(_one_line(v) if type(v) is str else _names(field, v) for v in value)
