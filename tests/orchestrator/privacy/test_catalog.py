import pytest

from orchestrator.privacy.catalog import NAMES, default_recognisers, recognisers_named
from orchestrator.privacy.recognisers import find_all


def test_recognisers_are_made_by_name_in_the_order_of_their_sureness() -> None:
    kinds = [type(one) for one in recognisers_named(["phone", "iban"])]
    assert kinds == [type(one) for one in recognisers_named(["iban", "phone"])]
    assert [kind.__name__ for kind in kinds] == ["IbanRecogniser", "PhoneRecogniser"]


def test_without_names_the_default_ones_are_made() -> None:
    assert [*map(type, recognisers_named())] == [*map(type, default_recognisers())]


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"no recogniser is called fone; there are .*phone"):
        recognisers_named(["phone", "fone"])


def test_patterns_and_words_of_the_user_go_before_all_others() -> None:
    own = recognisers_named(["card"], {"order": r"ORD-\d+"}, {"name": ["Ada Adler"]})
    found = find_all("ada adler, ORD-17: 4111 1111 1111 1111", own)
    assert [span.kind for span in found] == ["name", "order", "card"]


def test_a_bad_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="the pattern of 'order' is no regular expression"):
        recognisers_named([], {"order": "("})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "presidio"])
def test_every_name_makes_something_that_finds(name: str) -> None:
    assert list(recognisers_named([name])[0].find("nothing private")) == []
