import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.privacy.restoring import Restorer, restore
from orchestrator.privacy.vault import Vault

VAULT = Vault(b"k" * 32)
EMAIL = VAULT.token("EMAIL", "Ada@Example.com")
OTHER = VAULT.token("EMAIL", "ada@example.com")
CARD = VAULT.token("CARD", "4242 4242 4242 4242", "ada")
KIND, CODE = CARD.split("_")


@pytest.mark.parametrize(
    ("text", "restored"),
    [
        (f"Write to {EMAIL}.", "Write to Ada@Example.com."),
        (f"{EMAIL}'s and {OTHER}\u2019s", "Ada@Example.com's and ada@example.com\u2019s"),
        (f"**{CARD}**, _{CARD}_, `{CARD.lower()}`", "**{0}**, _{0}_, `{0}`"),
        (f'{{"card": "{CARD}\\n{CARD}"}}', '{{"card": "{0}\\n{0}"}}'),
        (f"{KIND}\\_{CODE} {KIND}-{CODE[:4]}-{CODE[4:]}", "{0} {0}"),
        (f"{KIND}_{CODE[:3]}-\n  {CODE[3:]}", "{0}"),
        (f"{KIND}_{CODE[:3]}\u00ad{CODE[3:]}", "{0}"),
        (f"{KIND.title()} {CODE}", "{0}"),
        (f"{CARD}{CARD}", f"{CARD}{CARD}"),
        ("", ""),
    ],
)
def test_tokens_are_restored_however_the_text_around_them_changed(text: str, restored: str) -> None:
    if "{0}" in restored:
        restored = restored.replace("{{", "{").replace("}}", "}").replace("{0}", "4242 " * 4)
        restored = restored.replace("4242 " * 4, "4242 4242 4242 4242")
    found = restore(text, VAULT)
    assert found.text == restored
    assert found.invented == ()


def test_the_longest_token_between_borders_counts() -> None:
    assert restore(f"{OTHER} {EMAIL}", VAULT).text == "ada@example.com Ada@Example.com"
    assert f"{EMAIL}2" == OTHER


@pytest.mark.parametrize(
    ("left", "unresolved"),
    [
        (f"{KIND}_{CODE[:6]}", True),  # its end is missing
        (f"{KIND}_{CODE}9", True),  # a spelling that was never handed out
        (f"PERSON_{CODE}", True),  # another kind
        (f"EMAIL_{CODE}", True),
        ("EMAIL_2C3D4F5H", False),
        ("PERSON_2C3D4F5H", False),
    ],
)
def test_what_cannot_be_restored_stays_and_is_told(left: str, unresolved: bool) -> None:
    found = restore(f"see {left}, and {CARD}", VAULT)
    assert found.text == f"see {left}, and 4242 4242 4242 4242"
    assert found.unresolved == ((left,) if unresolved else ())
    assert found.invented == (() if unresolved else (left,))


def test_a_forgotten_value_is_told_as_unresolved() -> None:
    vault = Vault(b"k" * 32)
    token = vault.token("CARD", "4242", "ada")
    vault.forget("ada")
    assert restore(token, vault).unresolved == (token,)


def test_other_words_with_an_underscore_are_no_tokens() -> None:
    text = "max_retries utf_8 EMAIL_ADDRESS id_2 card 2345 6789 CARD_HOLDER"
    found = restore(text, VAULT)
    assert (found.text, found.unresolved, found.invented) == (text, (), ())


def test_nothing_private_is_shown() -> None:
    assert "Ada" not in repr(restore(EMAIL, VAULT))


WRAPPED = f"{KIND}_{CODE[:4]}-\n{CODE[4:]}"
PARTS = r"EMAIL_2C3D4F5H|| |e|card|x|_|2|\n|\|EMAIL|CARD_|\u005f|'s|."
TOKENS = [EMAIL, OTHER, CARD, CARD.lower(), WRAPPED, CODE, EMAIL[:7], CARD[-6:], "-\n"]
pieces = st.lists(st.sampled_from([*TOKENS, *PARTS.split("|")]), max_size=12).map("".join)


@settings(max_examples=400)
@given(pieces, st.lists(st.integers(0, 200), max_size=30))
def test_a_text_in_pieces_is_restored_like_the_whole(text: str, cuts: list[int]) -> None:
    ends = sorted(min(cut, len(text)) for cut in cuts)
    parts = [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    restorer = Restorer(VAULT)
    out = [ready for part in parts for ready in restorer.feed(part)] + restorer.finish()
    assert len(out) == len(parts)
    assert "".join(out) == restore(text, VAULT).text


def test_pieces_stay_apart_and_only_what_may_be_a_token_is_held_back() -> None:
    restorer = Restorer(VAULT)
    assert restorer.feed("yes") == ["yes"]
    assert restorer.feed("see e") == []
    assert restorer.feed("ven") == ["see e", "ven"]
    assert restorer.feed("to " + EMAIL[:9]) == []
    assert restorer.feed(EMAIL[9:]) == []
    assert restorer.feed(" now ") == ["to Ada@Example.com", "", " now "]
    assert restorer.feed(EMAIL) == []
    assert restorer.finish() == ["Ada@Example.com"]


def test_pieces_tell_what_was_left_in_them() -> None:
    restorer = Restorer(VAULT)
    for piece in ("EMAIL_2C3D", "4F5H and ", f"PERSON_{CODE}", "."):
        restorer.feed(piece)
    restorer.finish()
    assert restorer.invented == ("EMAIL_2C3D4F5H",)
    assert restorer.unresolved == (f"PERSON_{CODE}",)


def test_what_is_held_back_has_an_end() -> None:
    restorer = Restorer(VAULT)
    restorer.feed("e")
    released = [len(restorer.feed("")) for _ in range(2000)]
    assert sum(released) > 1000
