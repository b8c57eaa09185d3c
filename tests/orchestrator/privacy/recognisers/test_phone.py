import re

import pytest

from orchestrator.privacy.recognisers.phone import PhoneRecogniser
from orchestrator.privacy.redact import redact


def written_in(text: str, region: str = "GB") -> list[str]:
    return [text[span.start : span.end] for span in PhoneRecogniser(region).find(text)]


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
    [
        "order A12345",
        "on 2024-05-01",
        "12/05/2024",
        "40 euros",
        "room 12, floor 3",
        "v1.2.3",
        "order 0951034839",
        "4021557783 rows",
        "invoice 2021/322574",
        "$6085488.99",
        "6,085,488.99 EUR",
        "at 152.015834 degrees",
        "d0617edc-5625-1094-5b85-6b5ee1484bda",
        "713200e43f963d250af21ed024746998da0dab44",
        "epoch 1760411266",
        "08-48 15 24",
        "call on 2024-05-01",
        "call on 24.12.2024, please",
        "phone me at 10.30 in room 12",
        "it was called 100000 times",
        "versions 3.9.2.\n\n\n1.0.1 call",
    ],
)
def test_dates_orders_and_prices_are_no_phone_numbers(text: str) -> None:
    assert written_in(text) == []


def test_a_number_without_country_code_is_read_by_the_region_it_was_made_for() -> None:
    german = "089 636480"
    assert written_in(german, "DE") == [german]
    assert not re.search(r"\d", redact(german, [PhoneRecogniser("DE")]).text)


@pytest.mark.parametrize(
    "number",
    [
        "2025550143",
        "08-48 15 24",
        "555-0143",
        "0 7 7 0 0 9 0 0 1 2 3",
        "07700\n900123",
        "+44 20 7946\r\n> 0958",
        "+1\n(202) 555-0143",
        "+٤٤ ٢٠ ٧٩٤٦ ٠٩٥٨",
        "０７７００ ９００１２３",
        "07\u200b700 900\u00ad123",
    ],
)
def test_a_number_after_the_word_is_found_however_it_is_written(number: str) -> None:
    assert redact(f"phone {number} please").text == "phone [PHONE] please"


def test_a_bracket_around_a_number_is_the_sentences() -> None:
    assert redact("(020 7946 0958, ask for Ada)").text == "([PHONE], ask for Ada)"
