import pytest

from orchestrator.privacy.catalog import default_recognisers, recognisers_named


def kinds(text: str, *given: object, **named: object) -> list[str]:
    found = recognisers_named(*given, **named)  # type: ignore[arg-type]
    return [span.kind for recogniser in found for span in recogniser.find(text)]


def test_recognisers_are_chosen_by_name() -> None:
    text = "a@b.com 4242 4242 4242 4242"
    assert kinds(text, ["email"]) == ["email"]
    assert {"email", "card"} <= set(kinds(text))
    assert len(default_recognisers()) == len(recognisers_named())


def test_a_users_own_patterns_and_words_stand_first() -> None:
    found = kinds(
        "case K-77 of Project Moon", patterns={"case": r"K-\d+"}, words={"name": ["moon"]}
    )
    assert found == ["case", "name"]


def test_an_unknown_name_or_a_bad_pattern_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"no recogniser is called e-mail; there are .*email"):
        recognisers_named(["e-mail"])
    with pytest.raises(ValueError, match="'case' is no regular expression"):
        recognisers_named(patterns={"case": "("})
