import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from orchestrator.core.audit import (
    Accepted,
    Decided,
    Declassified,
    Digest,
    Event,
    LoggedAudit,
    Refused,
    Revealed,
    keep,
    kept,
)
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import AuditUnavailable, DeadlineExceeded
from policies.facts import Label, Level

SENSITIVE = Label(Level.SENSITIVE, frozenset({"pii"}))
CANARY = "canary-77aa"


class Pending:
    """An audit whose futures the test ends."""

    durable = True

    def __init__(self) -> None:
        self.future: Future[None] = Future()

    def record(self, event: Event) -> Future[None]:
        return self.future

    def record_here(self, event: Event) -> "asyncio.Future[None]":
        return asyncio.wrap_future(self.record(event))

    def digest(self, value: object) -> Digest:
        return Digest()

    def metrics(self) -> Iterator[Any]:
        yield from ()


@pytest.mark.parametrize("text", ["g" * 64, "0" * 63, "A" * 64, "0" * 64 + "\n", CANARY])
def test_a_digest_is_nothing_but_a_digest(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits") as failed:
        Digest(text)
    assert text not in str(failed.value)
    assert Digest("0" * 64).hex == "0" * 64


@pytest.mark.parametrize("value", [b"x", ["a"], {"a": 1}, 1.5, None, True, object()])
def test_an_event_takes_no_payload(value: Any) -> None:
    with pytest.raises(TypeError, match="neither a name, a label nor a digest"):
        Refused(service=value)
    with pytest.raises(TypeError, match="neither a name, a label nor a digest"):
        Accepted(models=(("minilm", value),))


def test_what_a_program_says_becomes_one_short_line() -> None:
    event = Revealed(reason="first\nsecond\x1b[1m" + "x" * 500, service="a\rb")
    assert event.reason.startswith("first?second?[1mxxx")
    assert len(event.reason) == 200
    assert event.service == "a?b"
    assert Decided(candidates=("a\nb",), refused=(("c\td", "tier"),)).refused == (("c?d", "tier"),)


def test_without_a_log_on_disk_reveals_and_lowered_labels_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    audit = LoggedAudit()
    for event in (
        Revealed(label=SENSITIVE, reason="asked"),
        Declassified(service="redact", label=SENSITIVE),
        Decided(service="embed", label=SENSITIVE),
    ):
        audit.record(event).result(0)
    told = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    assert told == [
        ("isthmus.audit", "WARNING", "revealed a value labelled sensitive{pii}: asked"),
        ("isthmus.audit", "INFO", "redact lowered a value labelled sensitive{pii}"),
    ]
    assert (audit.durable, audit.digest(CANARY), list(audit.metrics())) == (False, Digest(), [])


async def test_a_call_waits_until_its_event_is_safe() -> None:
    audit = Pending()
    with pytest.raises(DeadlineExceeded):
        await kept(audit, Refused(), Deadline.after(0.01))
    audit = Pending()
    audit.future.set_result(None)
    await kept(audit, Refused(), Deadline.after(1.0))
    audit = Pending()
    audit.future.set_exception(AuditUnavailable())
    with pytest.raises(AuditUnavailable):
        await kept(audit, Refused(), Deadline.after(1.0))


def test_a_thread_waits_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.core.audit._BLOCKED_SECONDS", 0.01)
    audit = Pending()
    with pytest.raises(AuditUnavailable):
        keep(audit, Refused())
    audit.future.set_result(None)
    assert audit.future.done()
    keep(audit, Refused())
