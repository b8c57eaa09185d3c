import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy.checksums import luhn_holds
from orchestrator.privacy.recognisers.card import CardRecogniser
from orchestrator.privacy.redact import redact


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in CardRecogniser().find(text)]


def make_card(length: int, seed: int) -> str:
    source = random.Random(seed)
    body = "4" + "".join(str(source.randrange(10)) for _ in range(length - 2))
    return next(body + str(last) for last in range(10) if luhn_holds(body + str(last)))


def grouped(value: str, separator: str) -> str:
    return separator.join(value[place : place + 4] for place in range(0, len(value), 4))


cards = st.builds(make_card, st.integers(13, 19), st.integers(0, 10**6))
words = st.sampled_from(["please pay to", "my account:", "ref.", "", "thanks, it was", "(urgent)"])


@given(words, cards, words, st.sampled_from(["", " ", "-"]))
def test_a_card_in_a_sentence_is_found_whole(
    before: str, card: str, after: str, separator: str
) -> None:
    written = grouped(card, separator)
    assert written_in(f"{before} {written} {after}") == [written]


@given(cards, st.integers(1, 9))
def test_digits_whose_check_digit_does_not_fit_are_no_card(card: str, shift: int) -> None:
    assert written_in(card[:-1] + str((int(card[-1]) + shift) % 10)) == []


@pytest.mark.parametrize(
    "text",
    [
        "my card 4111 1111 1111 1111 12/27",
        "4111 1111 1111 1111 123 is the number and the code",
        "order 17 4111 1111 1111 1111",
        "2 4111111111111111",
    ],
)
def test_digits_beside_a_card_such_as_its_expiry_date_do_not_hide_it(text: str) -> None:
    assert "[CARD]" in redact(text).text


@pytest.mark.parametrize(
    "text",
    [
        "4111\u00a01111\u00a01111\u00a01111",
        "4111.1111.1111.1111",
        "4111  1111  1111  1111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4111 1111\n1111 1111",
        "41111111\r\n> 11111111",
        "４１１１ １１１１ １１１１ １１１１",
        "٤١١١١١١١١١١١١١١١",
        "4\u200b111111111111111",
        "4111–1111–1111–1111",
        "3782 822463 10005",
        "2131 9777298605 2",
    ],
)
def test_a_card_is_masked_however_people_write_it(text: str) -> None:
    assert redact(text).text == "[CARD]"


@pytest.mark.parametrize("digits", ["1111111111111117", "20261125192547", "9999999999999995"])
def test_digits_of_no_card_scheme_are_no_card(digits: str) -> None:
    assert written_in(digits) == []
