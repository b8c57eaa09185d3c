import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy.recognisers.custom import PatternRecogniser, WordRecogniser
from orchestrator.privacy.redact import redact


def test_a_pattern_of_the_user_is_found() -> None:
    assert redact("staff E-12345 left", [PatternRecogniser("staff", r"E-\d{5}")]).text == (
        "staff [STAFF] left"
    )


@pytest.mark.parametrize(
    ("pattern", "cure"),
    [
        ("(", "is no regular expression"),
        ("a*", "also fits an empty text"),
        ("(a+)+b", "repeats a repetition"),
        (r"(\w+\s*)*!", "also fits|repeats a repetition"),
        ("x(a|b+){2,}y", "repeats a repetition"),
    ],
)
def test_a_bad_pattern_is_refused_with_its_cure(pattern: str, cure: str) -> None:
    with pytest.raises(ValueError, match=f"the pattern of 'staff'.*(?:{cure})"):
        PatternRecogniser("staff", pattern)


@pytest.mark.parametrize("pattern", [r"(?:AB|CD)\d+", r"(ab)+c", r"\(a+\)+", "a{1,3}(b{2})?"])
def test_a_harmless_pattern_is_taken(pattern: str) -> None:
    assert list(PatternRecogniser("staff", pattern).find("nothing")) == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Project Blue  Heron is late", "Project [CODE] is late"),
        ("BLUE\nHERON", "[CODE]"),
        ("the heron", "the [CODE]"),
        ("herons and bluebells", "herons and bluebells"),
        ("Straße, STRASSE", "[CODE], [CODE]"),
        ("O'Brien's desk", "[CODE]'s desk"),
        ("Ивану, Иван", "Ивану, [CODE]"),
        ("B\u200blue Heron", "[CODE]"),
    ],
)
def test_whole_words_and_phrases_are_found_in_any_case(text: str, masked: str) -> None:
    words = WordRecogniser("code", ["blue heron", "heron", "straße", "O'Brien", "Иван"])
    assert redact(text, [words]).text == masked


@pytest.mark.parametrize(
    ("words", "cure"), [([], "is empty"), (["ok", "--"], "without any letter")]
)
def test_a_list_without_words_is_refused(words: list[str], cure: str) -> None:
    with pytest.raises(ValueError, match=f"'code' .*{cure}"):
        WordRecogniser("code", words)


@given(st.lists(st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True), min_size=1), st.text())
def test_every_word_of_a_list_is_found_wherever_it_stands_alone(
    words: list[str], rest: str
) -> None:
    recogniser = WordRecogniser("code", words)
    for word in words:
        text = f"{word.upper()}; {rest}"
        assert any(span.start == 0 and span.end >= len(word) for span in recogniser.find(text)), (
            re.escape(word)
        )
