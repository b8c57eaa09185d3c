import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy.confusables import CONFUSABLES
from orchestrator.privacy.normalise import as_it_is, folded, joined


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("４１１１", "4111"),
        ("𝟒𝟏𝟏𝟏", "4111"),
        ("𝐃𝐄𝟖𝟗", "DE89"),
        ("٤١١١", "4111"),
        ("४१११", "4111"),
        ("①②③", "123"),
        ("4\u200b1\u00ad1\ufeff1", "4111"),
        ("4\ufe0f\u20e31\ufe0f\u20e3", "41"),
        ("DЕ89", "DE89"),
        ("аda@ехаmple.com", "ada@example.com"),
        ("ju\u0308rgen", "jurgen"),
        ("20\u201120", "20-20"),
        ("a\u00a0b\u2009c", "a b c"),
    ],
)
def test_what_looks_alike_is_read_alike(written: str, read: str) -> None:
    assert folded(written).text == read


def test_every_lookalike_stands_for_one_plain_sign() -> None:
    assert all(not chr(one).isascii() for one in CONFUSABLES)
    assert all(other.isascii() and len(other) == 1 for other in CONFUSABLES.values())


@given(st.text())
def test_every_place_of_a_view_leads_back_into_the_text(text: str) -> None:
    for view in (as_it_is(text), folded(text), joined(folded(text))):
        assert len(view.text) == len(view.places) == len(view.ends)
        assert view.places == sorted(view.places)
        assert all(
            0 <= at < end <= len(text) for at, end in zip(view.places, view.ends, strict=True)
        )


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert folded(text) == as_it_is(text)


@given(st.text())
def test_letters_that_stay_are_where_they_were(text: str) -> None:
    view = folded(text)
    for place, sign in zip(view.places, view.text, strict=True):
        assert text[place] == sign or not text[place].isascii()


def test_a_stretch_takes_the_unseen_signs_within_and_after_it() -> None:
    text = "card 4\u200b1\u200b, then"
    view = folded(text)
    start, end = view.original(view.text.index("41"), view.text.index("41") + 2)
    assert text[start:end] == "4\u200b1\u200b"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("AKIAIOSF\nODNN7", "AKIAIOSFODNN7"),
        ("AKIAIOSF\r\n> ODNN7", "AKIAIOSFODNN7"),
        ("AKIAIOSF=\nODNN7", "AKIAIOSFODNN7"),
        ("a d a @ x . o r g", "ada@x.org"),
        ("<1 9 2 . 1 6 8>, so", "<192.168>, so"),
        ("a new line.\n\nAnd a b c", "a new line.\n\nAnd a b c"),
    ],
)
def test_breaks_inside_values_are_taken_out(written: str, read: str) -> None:
    assert joined(as_it_is(written)).text == read


def test_the_control_signs_of_other_scripts_are_no_letters_of_ours() -> None:
    assert folded("日本語").text == "日本語"
    assert unicodedata.normalize("NFKC", "ﬁ") == folded("ﬁ").text
