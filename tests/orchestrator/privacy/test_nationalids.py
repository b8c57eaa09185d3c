from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy import nationalids as ids

Holds = Callable[[str], bool]

# Numbers that authorities, standards and encyclopaedias publish as examples.
PUBLISHED: list[tuple[Holds, str]] = [
    (ids.us_ssn_holds, "078051120"),
    (ids.uk_nhs_holds, "9434765919"),
    (ids.uk_nhs_holds, "9434765870"),
    (ids.de_tax_id_holds, "86095742719"),
    (ids.de_tax_id_holds, "47036892816"),
    (ids.de_tax_id_holds, "65929970489"),
    (ids.fr_nir_holds, "255081416802538"),
    (ids.es_dni_holds, "12345678Z"),
    (ids.es_dni_holds, "X1234567L"),
    (ids.it_fiscal_code_holds, "RSSMRA85T10A562S"),
    (ids.it_fiscal_code_holds, "MRTMTT25D09F205Z"),
    (ids.nl_bsn_holds, "111222333"),
    (ids.nl_bsn_holds, "123456782"),
    (ids.pl_pesel_holds, "44051401359"),
    (ids.pl_pesel_holds, "02070803628"),
    (ids.se_personal_number_holds, "8112189876"),
    (ids.se_personal_number_holds, "198112189876"),
    (ids.fi_personal_code_holds, "131052-308T"),
    (ids.fi_personal_code_holds, "131052308T"),
    (ids.br_cpf_holds, "52998224725"),
    (ids.br_cpf_holds, "11144477735"),
    (ids.verhoeff_holds, "2363"),
    (ids.in_aadhaar_holds, "234123412346"),
]
CHECKED = [(holds, number) for holds, number in PUBLISHED if holds is not ids.us_ssn_holds]


@pytest.mark.parametrize(("holds", "number"), PUBLISHED)
def test_published_examples_hold(holds: Holds, number: str) -> None:
    assert holds(number)


@given(st.sampled_from(CHECKED), st.data())
def test_another_last_sign_does_not_hold(known: tuple[Holds, str], data: st.DataObject) -> None:
    holds, number = known
    signs = "0123456789" if number[-1].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    other = data.draw(st.sampled_from([sign for sign in signs if sign != number[-1]]))
    assert not holds(number[:-1] + other)


@pytest.mark.parametrize(
    ("holds", "number"),
    [
        (ids.us_ssn_holds, "000123456"),
        (ids.us_ssn_holds, "666123456"),
        (ids.us_ssn_holds, "900123456"),
        (ids.us_ssn_holds, "123003456"),
        (ids.us_ssn_holds, "123450000"),
        (ids.uk_nhs_holds, "0000000000"),
        (ids.de_tax_id_holds, "01234567890"),
        (ids.fr_nir_holds, "999999999999999"),
        (ids.nl_bsn_holds, "000000000"),
        (ids.pl_pesel_holds, "00000000000"),
        (ids.se_personal_number_holds, "0000000000"),
        (ids.fi_personal_code_holds, "321399-0000"),
        (ids.br_cpf_holds, "11111111111"),
        (ids.in_aadhaar_holds, "134123412346"),
        (ids.it_fiscal_code_holds, "RSSMRALRTMLALMNS"),
    ],
)
def test_what_no_authority_gives_out_does_not_hold(holds: Holds, number: str) -> None:
    assert not holds(number)


def test_verhoeff_sees_two_neighbours_swapped() -> None:
    assert ids.verhoeff_holds("2363")
    assert not any(ids.verhoeff_holds(number) for number in ("3263", "2633", "2336"))
