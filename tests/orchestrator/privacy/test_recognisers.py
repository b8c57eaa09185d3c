import random
import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy.checksums import luhn_holds
from orchestrator.privacy.recognisers import (
    CardRecogniser,
    EmailRecogniser,
    IbanRecogniser,
    PhoneRecogniser,
    Recogniser,
)
from orchestrator.privacy.redact import redact

LENGTHS = {"NO": 15, "AT": 20, "DE": 22, "ES": 24, "FR": 27, "PL": 28, "MT": 31}


def found(recogniser: Recogniser, text: str) -> list[str]:
    return [text[span.start : span.end] for span in recogniser.find(text)]


def make_iban(country: str, seed: int) -> str:
    source = random.Random(seed)
    body = "".join(str(source.randrange(10)) for _ in range(LENGTHS[country] - 4))
    letters = "".join(str(int(letter, 36)) for letter in f"{country}00")
    return f"{country}{98 - int(body + letters) % 97:02d}{body}"


def make_card(length: int, seed: int) -> str:
    source = random.Random(seed)
    body = "4" + "".join(str(source.randrange(10)) for _ in range(length - 2))
    return next(body + str(last) for last in range(10) if luhn_holds(body + str(last)))


def grouped(value: str, separator: str) -> str:
    return separator.join(value[place : place + 4] for place in range(0, len(value), 4))


ibans = st.builds(make_iban, st.sampled_from(sorted(LENGTHS)), st.integers(0, 10**6))
cards = st.builds(make_card, st.integers(13, 19), st.integers(0, 10**6))
words = st.sampled_from(["please pay to", "my account:", "ref.", "", "thanks, it was", "(urgent)"])


@given(words, ibans, words, st.sampled_from(["", " "]))
def test_an_iban_in_a_sentence_is_found_whole(
    before: str, iban: str, after: str, separator: str
) -> None:
    written = grouped(iban, separator)
    assert found(IbanRecogniser(), f"{before} {written} {after}") == [written]


@given(words, cards, words, st.sampled_from(["", " ", "-"]))
def test_a_card_in_a_sentence_is_found_whole(
    before: str, card: str, after: str, separator: str
) -> None:
    written = grouped(card, separator)
    assert found(CardRecogniser(), f"{before} {written} {after}") == [written]


@given(ibans, st.integers(1, 96))
def test_an_iban_whose_check_digits_do_not_fit_is_none(iban: str, shift: int) -> None:
    wrong = (int(iban[2:4]) + shift) % 97
    if wrong % 97 != int(iban[2:4]) % 97:
        assert found(IbanRecogniser(), f"{iban[:2]}{wrong:02d}{iban[4:]}") == []


@given(cards, st.integers(1, 9))
def test_digits_whose_check_digit_does_not_fit_are_no_card(card: str, shift: int) -> None:
    assert found(CardRecogniser(), card[:-1] + str((int(card[-1]) + shift) % 10)) == []


@pytest.mark.parametrize(
    "text",
    [
        "ES91 2100 0418 4502 0005 1332 I hope that is right",
        "SEND IT TO ES91 2100 0418 4502 0005 1332 NOW",
        "AT61 1904 3002 3457 3201 OK?",
        "our customer AB12 DE89 3704 0044 0532 0130 00",
    ],
)
def test_a_word_in_capitals_beside_an_iban_does_not_hide_it(text: str) -> None:
    assert "[IBAN]" in redact(text).text


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
        "de89 3704 0044 0532 0130 00",
        "DE89-3704-0044-0532-0130-00",
        "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111.1111.1111.1111",
        "4111  1111  1111  1111",
    ],
)
def test_account_and_card_numbers_are_found_however_people_write_them(text: str) -> None:
    assert redact(text).text in ("[IBAN]", "[CARD]")


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("write to ada.adler@example.com.", ["ada.adler@example.com"]),
        ("<ben+shop@sub.example.co.uk>", ["ben+shop@sub.example.co.uk"]),
        ("ADA@EXAMPLE.COM,ben@example.org", ["ADA@EXAMPLE.COM", "ben@example.org"]),
        ("jürgen@münchen.example", ["jürgen@münchen.example"]),
        ("mail a_b-c@x-y.example!", ["a_b-c@x-y.example"]),
        ("price @ 5 euros, see me@work", []),
        ("", []),
    ],
)
def test_email_addresses_are_found(text: str, addresses: Sequence[str]) -> None:
    assert found(EmailRecogniser(), text) == addresses


@pytest.mark.parametrize(
    "address", ["o'brien@example.com", "mary&john@example.com", "first!last@example.com"]
)
def test_an_address_is_masked_with_its_whole_local_part(address: str) -> None:
    assert redact(address).text == "[EMAIL]"


def test_a_long_text_without_an_address_cannot_stop_the_node() -> None:
    redact("a")  # the numbering plans are loaded by the first use
    started = time.perf_counter()
    redact("a" * 30_000)
    assert time.perf_counter() - started < 1.5  # it took 2.6 s when the search was quadratic


@pytest.mark.parametrize(
    "number",
    [
        "+44 20 7946 0958",
        "07700 900123",
        "020-7946-0958",
        "+1 202 555 0143",
        "(202) 555-0143",
        "0049 30 1234567",
        "+33 1 23 45 67 89",
        "01234567890",
    ],
)
def test_phone_numbers_of_any_country_are_found(number: str) -> None:
    masked = redact(f"call {number}, please").text
    assert masked == "call [PHONE], please"


@pytest.mark.parametrize(
    "text",
    ["order A12345", "on 2024-05-01", "12/05/2024", "40 euros", "room 12, floor 3", "v1.2.3"],
)
def test_dates_orders_and_prices_are_no_phone_numbers(text: str) -> None:
    assert found(PhoneRecogniser(), text) == []


def test_a_number_without_country_code_is_read_by_the_region_it_was_made_for() -> None:
    german = "089 636480"
    assert found(PhoneRecogniser("DE"), german) == [german]
    assert not re.search(r"\d", redact(german, [PhoneRecogniser("DE")]).text)
