import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.privacy.checksums import iban_holds, luhn_holds

CARDS = ("4111111111111111", "378282246310005", "5555555555554444", "30569309025904")
IBANS = (
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "FR1420041010050500013M02606",
    "NO9386011117947",
    "MT84MALT011000012345MTLCAST001S",
)


@pytest.mark.parametrize("digits", CARDS)
def test_published_test_cards_hold(digits: str) -> None:
    assert luhn_holds(digits)


@pytest.mark.parametrize("account", IBANS)
def test_published_example_ibans_hold(account: str) -> None:
    assert iban_holds(account)


@given(st.sampled_from(CARDS), st.data())
def test_one_wrong_digit_in_a_card_never_holds(digits: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(digits) - 1))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != digits[place]]))
    assert not luhn_holds(digits[:place] + other + digits[place + 1 :])


@given(st.sampled_from(IBANS), st.data())
def test_one_wrong_digit_in_an_iban_never_holds(account: str, data: st.DataObject) -> None:
    places = [place for place, letter in enumerate(account) if letter.isdigit()]
    place = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from([d for d in "0123456789" if d != account[place]]))
    assert not iban_holds(account[:place] + other + account[place + 1 :])


@given(st.sampled_from(CARDS), st.data())
def test_two_neighbours_swapped_hold_only_if_luhn_cannot_know(
    digits: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(digits) - 2))
    one, other = digits[place], digits[place + 1]
    swapped = digits[:place] + other + one + digits[place + 2 :]
    assert luhn_holds(swapped) == (one == other or {one, other} == {"0", "9"})
