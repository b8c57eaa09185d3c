import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy.recognisers.iban import IbanRecogniser
from orchestrator.privacy.redact import redact

LENGTHS = {"NO": 15, "AT": 20, "DE": 22, "ES": 24, "FR": 27, "PL": 28, "MT": 31}


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in IbanRecogniser().find(text)]


def make_iban(country: str, seed: int) -> str:
    source = random.Random(seed)
    body = "".join(str(source.randrange(10)) for _ in range(LENGTHS[country] - 4))
    letters = "".join(str(int(letter, 36)) for letter in f"{country}00")
    return f"{country}{98 - int(body + letters) % 97:02d}{body}"


def grouped(value: str, separator: str) -> str:
    return separator.join(value[place : place + 4] for place in range(0, len(value), 4))


ibans = st.builds(make_iban, st.sampled_from(sorted(LENGTHS)), st.integers(0, 10**6))
words = st.sampled_from(["please pay to", "my account:", "ref.", "", "thanks, it was", "(urgent)"])


@given(words, ibans, words, st.sampled_from(["", " "]))
def test_an_iban_in_a_sentence_is_found_whole(
    before: str, iban: str, after: str, separator: str
) -> None:
    written = grouped(iban, separator)
    assert written_in(f"{before} {written} {after}") == [written]


@given(ibans, st.integers(1, 96))
def test_an_iban_whose_check_digits_do_not_fit_is_none(iban: str, shift: int) -> None:
    wrong = (int(iban[2:4]) + shift) % 97
    if wrong % 97 != int(iban[2:4]) % 97:
        assert written_in(f"{iban[:2]}{wrong:02d}{iban[4:]}") == []


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
        "de89 3704 0044 0532 0130 00",
        "DE89-3704-0044-0532-0130-00",
        "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000",
        "D E 8 9 3 7 0 4 0 0 4 4 0 5 3 2 0 1 3 0 0 0",
        "DE89 3704 0044\n0532 0130 00",
        "DE89 3704 0044\n> 0532 0130 00",
        "DЕ８９ 3704 0044 0532 0130 00",
        "DE89\u200b3704\u20600044\u00ad0532013000",
        "DE٨٩ 3704 0044 0532 0130 00",
    ],
)
def test_an_account_is_masked_however_people_write_it(text: str) -> None:
    assert redact(text).text == "[IBAN]"
