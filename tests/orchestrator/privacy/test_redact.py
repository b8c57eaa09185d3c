import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.demo.generate import INBOX, make_inbox
from orchestrator.privacy.recognisers import Span
from orchestrator.privacy.redact import redact

TEXT = "abcdefghijklmnopqrstuvwxyz"


class Fixed:
    """Finds what it was told."""

    def __init__(self, *spans: Span) -> None:
        self.spans = spans

    def find(self, text: str) -> Iterator[Span]:
        yield from self.spans


def spans_of(kind: str) -> st.SearchStrategy[list[Span]]:
    places = st.tuples(st.integers(0, 25), st.integers(1, 8))
    spans = places.map(lambda place: Span(kind, place[0], min(sum(place), 26)))
    return st.lists(spans, max_size=5)


@given(spans_of("one"), spans_of("two"), spans_of("three"))
def test_all_that_anyone_found_is_masked_and_all_else_stays(
    one: list[Span], two: list[Span], three: list[Span]
) -> None:
    result = redact(TEXT, [Fixed(*one), Fixed(*two), Fixed(*three)])
    private = {place for span in (*one, *two, *three) for place in range(span.start, span.end)}
    kept = "".join(letter for place, letter in enumerate(TEXT) if place not in private)
    assert re.sub(r"\[(ONE|TWO|THREE)\]", "", result.text) == kept
    assert sum(result.counts.values()) == len(re.findall(r"\[", result.text))


def test_where_two_as_long_overlap_the_surer_recogniser_names_them() -> None:
    sure, unsure = Fixed(Span("card", 5, 10)), Fixed(Span("phone", 2, 7))
    assert redact(TEXT, [sure, unsure]).text == "ab[CARD]klmnopqrstuvwxyz"
    assert redact(TEXT, [unsure, sure]).text == "ab[PHONE]klmnopqrstuvwxyz"


def test_one_that_bridges_two_joins_them_all_and_the_longest_names_them() -> None:
    result = redact(TEXT, [Fixed(Span("a", 0, 3), Span("a", 6, 9)), Fixed(Span("b", 2, 7))])
    assert (result.text, result.counts) == ("[B]jklmnopqrstuvwxyz", {"b": 1})


def test_neighbours_that_only_touch_stay_two() -> None:
    result = redact(TEXT, [Fixed(Span("a", 0, 3)), Fixed(Span("b", 3, 6))])
    assert result.text == "[A][B]ghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("text", ["", "Hello.", "Grüße, 你好 🎉", "line\nline\t end"])
def test_a_text_without_anything_private_stays_as_it_is(text: str) -> None:
    result = redact(text)
    assert (result.text, result.counts) == (text, {})


def test_all_kinds_in_one_message_are_masked_and_counted() -> None:
    result = redact(
        "I am ada@example.com, call +44 20 7946 0958, charge 4111 1111 1111 1111 "
        "or debit DE89 3704 0044 0532 0130 00, not 4111111111111111."
    )
    assert result.text == "I am [EMAIL], call [PHONE], charge [CARD] or debit [IBAN], not [CARD]."
    assert result.counts == {"email": 1, "phone": 1, "card": 2, "iban": 1}


def test_what_was_masked_is_not_found_again() -> None:
    once = redact("ada@example.com, +44 20 7946 0958").text
    assert redact(once).text == once


def test_the_committed_inbox_is_the_generators() -> None:
    committed = json.loads(INBOX.read_text())
    assert committed["messages"] == make_inbox()
    assert "Synthetic" in committed["note"]
    assert len(committed["messages"]) == 200


def test_the_committed_inbox_is_fully_masked() -> None:
    raw = [str(message["text"]) for message in make_inbox()]
    masked = [redact(text) for text in raw]

    def private(text: str) -> bool:
        without_orders = re.sub(r"\bA\d{5}\b", "", text)
        return bool(re.search(r"@|\d[\d -]{3,}|[A-Z]{2}\d{2}", without_orders))

    assert [result.text for result in masked if private(result.text)] == []
    assert sum(map(private, raw)) > 100  # the control
    for kind in ("email", "phone", "card", "iban"):
        assert sum(result.counts.get(kind, 0) for result in masked) >= 10
