import io

from rich.console import Console

from orchestrator.core.call import Result, Timings
from orchestrator.core.errors import PrivacyRefused
from orchestrator.demo.ledger import Ledger
from orchestrator.demo.report import show
from policies.facts import (
    PUBLIC,
    CallFacts,
    Candidate,
    Clearance,
    Decision,
    EndpointFacts,
    Placement,
)

CALL = CallFacts("embed", "v1", PUBLIC, Placement("cloud", "overflow"), 10, 100.0)
HERE = Candidate(EndpointFacts("edge-1", "edge", Clearance()), True, 1.0)
THERE = Candidate(EndpointFacts("cloud-1", "cloud", Clearance()), True, 2.0)


def seen(ledger: Ledger) -> str:
    """Return what a person sees."""
    file = io.StringIO()
    show(ledger, Console(file=file, width=160))
    return file.getvalue()


def ledger() -> Ledger:
    ledger = Ledger(submitted=2, done=2, sorted_right=1, events=["cloud-node was killed"])
    decision = Decision(CALL, (HERE, THERE), ())
    for ms in (10.0, 20.0):
        ledger.note(
            "embed",
            Result(None, "edge", "edge-1", PUBLIC, decision, Timings(), ms, ("edge-1",), "0" * 16),
        )
    ledger.masked.update({"email": 3})
    ledger.note_refusal("archive", PrivacyRefused(decision=Decision(CALL, (), ())))
    return ledger


def test_a_person_sees_where_each_step_ran_how_fast_and_why() -> None:
    text = seen(ledger())
    row = next(line for line in text.splitlines() if "embed" in line and "edge" in line)
    assert all(words in row for words in ("2", "20.0", "2 x cheapest of both tiers"))
    assert "3 email" in text
    assert "1 of archive" in text
    assert "explain(): cost decided" in text
    assert "• cloud-node was killed" in text
    assert "2 of 2 messages sorted, none lost; 50% went to the topic" in text


def test_a_lost_message_cannot_be_overlooked() -> None:
    books = ledger()
    books.done, books.lost = 1, {7: "NO_ROUTE"}
    assert "1 of 2 messages sorted, 1 lost" in seen(books)


def test_an_empty_ledger_is_shown_without_a_fuss() -> None:
    assert "0 of 0 messages sorted, none lost" in seen(Ledger())
