import pytest

from orchestrator.privacy.catalog import recognisers_named
from orchestrator.privacy.recognisers import Span
from orchestrator.privacy.recognisers.national import NATIONAL_IDS, NationalIdRecogniser
from orchestrator.privacy.redact import redact

WRITTEN = [
    ("my SSN is 123-45-6789", "us_ssn"),
    ("123-45-6789", "us_ssn"),
    ("social security 123 45 6789", "us_ssn"),
    ("NHS number 943 476 5919", "uk_nhs"),
    ("NHS no. 9434765919", "uk_nhs"),
    ("Steuer-ID 86 095 742 719", "de_tax_id"),
    ("2 55 08 14 168 025 38", "fr_nir"),
    ("NIR 255081416802538", "fr_nir"),
    ("DNI 12345678Z", "es_dni"),
    ("x-1234567-l", "es_dni"),
    ("rssmra85t10a562s", "it_fiscal_code"),
    ("RSS MRA 85T10 A562S", "it_fiscal_code"),
    ("BSN 123456782", "nl_bsn"),
    ("burgerservicenummer 123.456.782", "nl_bsn"),
    ("PESEL 44051401359", "pl_pesel"),
    ("811218-9876", "se_personal_number"),
    ("19811218-9876", "se_personal_number"),
    ("131052-308T", "fi_personal_code"),
    ("CPF 529.982.247-25", "br_cpf"),
    ("2341 2341 2346", "in_aadhaar"),
    ("Aadhaar 234123412346", "in_aadhaar"),
]


@pytest.mark.parametrize(("text", "kind"), WRITTEN)
def test_a_number_is_found_as_its_country_writes_it(text: str, kind: str) -> None:
    assert redact(text).counts == {kind: 1}


@pytest.mark.parametrize(("text", "kind"), WRITTEN)
def test_it_is_found_in_full_width_digits_too(text: str, kind: str) -> None:
    wide = "".join(chr(ord(sign) + 0xFEE0) if sign.isdigit() else sign for sign in text)
    assert redact(wide).counts == {kind: 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SSN 1 2 3 4 5 6 7 8 9", "us_ssn"),
        ("DNI 1 2 3 4 5 6 7 8 Z", "es_dni"),
        ("PESEL 440514\n01359", "pl_pesel"),
        ("BSN 123\r\n> 456782", "nl_bsn"),
    ],
)
def test_it_is_found_digit_by_digit_and_over_two_lines(text: str, kind: str) -> None:
    assert redact(text).counts == {kind: 1}


@pytest.mark.parametrize(
    "text",
    [
        "943 476 5919 pieces",
        "123456782 rows",
        "44051401359",
        "234123412346",
        "SSN 000-12-3456",
        "BSN 123456789",
        "2026-08-09T18:01:28.481121Z",
        "9533dbea-4191-8131-2371-2e1bd05677f2",
        "please pay the man at the bar for it",
    ],
)
def test_digits_without_words_or_without_right_check_digits_are_none(text: str) -> None:
    assert list(NationalIdRecogniser().find(text)) == []


def test_of_two_countries_whose_check_digits_fit_the_one_that_is_named_goes_first() -> None:
    number = "86095742719"  # a German number; as a Brazilian or Polish one it does not hold
    both = "52998224725"
    assert next(NationalIdRecogniser().find(f"IdNr {number}")).kind == "de_tax_id"
    assert next(NationalIdRecogniser().find(f"CPF {both}")).kind == "br_cpf"
    assert redact("social security number 629-24-8333").counts == {"us_ssn": 1}


def test_one_country_can_be_asked_for_alone() -> None:
    only = recognisers_named(["uk_nhs"])
    assert redact("NHS 943 476 5919, DNI 12345678Z", only).counts == {"uk_nhs": 1}


def test_a_number_is_no_part_of_a_longer_one() -> None:
    assert list(NationalIdRecogniser().find("SSN 123456789012345678901")) == []
    assert list(NationalIdRecogniser().find("12 DNI 12345678Z")) == [Span("es_dni", 7, 16)]


def test_every_kind_has_words_of_its_own_and_an_example_here() -> None:
    assert {number.kind for number in NATIONAL_IDS} == {kind for _, kind in WRITTEN}
