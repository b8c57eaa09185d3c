import random
import string
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.recognisers import Span, find_all

DEFAULT = default_recognisers()


class Literal:
    """Finds a word, and tells what it was shown."""

    def __init__(self, kind: str, word: str) -> None:
        self.kind, self.word = kind, word
        self.shown: list[str] = []

    def find(self, text: str) -> Iterator[Span]:
        self.shown.append(text)
        at = text.find(self.word)
        if at >= 0:
            yield Span(self.kind, at, at + len(self.word))


def test_spans_are_of_the_text_as_it_was_given() -> None:
    text = "‹\u200b s\u200be\u00adcret ›"
    (span,) = find_all(text, [Literal("word", "secret")])
    assert text[span.start : span.end] == "s\u200be\u00adcret"


def test_a_text_in_plain_letters_without_breaks_is_read_once() -> None:
    reader = Literal("word", "x")
    find_all("nothing here", [reader])
    assert reader.shown == ["nothing here"]


def test_the_longest_names_a_place_then_the_surest() -> None:
    text = "abcdef"
    assert find_all(text, [Literal("one", "abc"), Literal("two", "cdef")]) == [Span("two", 0, 6)]
    assert find_all(text, [Literal("one", "abc"), Literal("two", "bcd")]) == [Span("one", 0, 4)]
    assert find_all(text, [Literal("two", "bcd"), Literal("one", "abc")]) == [Span("two", 0, 4)]


def test_a_find_over_a_line_break_does_not_take_the_next_word() -> None:
    text = "to\nada@example.com\nthanks"
    assert [text[span.start : span.end] for span in find_all(text, DEFAULT)] == ["ada@example.com"]


SIGNS = "0123456789abzADE @.:/-\n\u200b４а+"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=SIGNS, max_size=80) | st.text(max_size=40))
def test_spans_stand_in_order_inside_the_text_and_do_not_overlap(text: str) -> None:
    spans = find_all(text, DEFAULT)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= two.start for one, two in pairwise(spans))


HOSTILE = {
    "letters": "a",
    "digits": "1",
    "spaced digits": "1 ",
    "grouped digits": "4111 ",
    "zeros": "0-",
    "at signs": "a@",
    "loose addresses": "a @ b . ",
    "dotted": "a@a.",
    "colons": "1:",
    "v6": "::1 ",
    "schemes": "a://a:",
    "at words": "a at a dot ",
    "tokens": "eyJa.",
    "pem": "-----BEGIN PRIVATE KEY-----",
    "names": "key=",
    "passwords": "password: ",
    "births": "born ",
    "dates": "1.1.",
    "ibans": "DE89 ",
    "codes": "RSSMRA85T10A562S ",
    "phones": "+44 20 7946 0958 ",
    "open brackets": "(0",
    "line breaks": "a\nb",
    "unseen": "\u200b4",
    "wide": "４",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_a_text_four_times_as_long_takes_about_four_times_as_long(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        began = time.process_time()
        find_all(text, DEFAULT)
        return time.process_time() - began

    find_all(piece * 100, DEFAULT)  # loads the numbering plans
    short = max(min(seconds(2_000) for _ in range(3)), 0.02)
    assert min(seconds(8_000) for _ in range(2)) < 10 * short  # it would be 16, if quadratic


def test_100_kb_of_all_that_is_hostile_are_read_to_the_end() -> None:
    hostile = "".join((piece * 4_000)[:4_000] + " " for piece in HOSTILE.values())
    text = f"{hostile}, ada@example.com"
    assert len(text) > 100_000
    assert find_all(text, DEFAULT)[-1].end == len(text)


def test_100_kb_of_noise_are_read_to_the_end() -> None:
    source = random.Random(5)
    noise = "".join(source.choices(string.printable, k=100_000))
    text = f"{noise} ada@example.com"
    assert find_all(text, DEFAULT)[-1] == Span("email", len(noise) + 1, len(text))
