import copy
import pickle
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidInput, UsageError
from orchestrator.privacy import vault as module
from orchestrator.privacy.tokens import Found, next_token
from orchestrator.privacy.vault import Vault, canonical

KEY = b"k" * 32


def read(token: str) -> Found:
    found = next_token(token, ["EMAIL", "CARD"])
    assert found
    return found


def test_a_token_says_its_kind_and_gives_its_value_back() -> None:
    vault = Vault()
    token = vault.token("EMAIL", "ada@example.com")
    assert re.fullmatch(r"EMAIL_[2-9CDFHJKMPQVWXY]{8}", token)
    assert vault.value(read(token)) == "ada@example.com"
    assert vault.kinds == {"EMAIL"}


def test_the_same_value_has_the_same_token_under_one_key_and_another_under_another() -> None:
    one, same, other = Vault(KEY), Vault(KEY), Vault(b"K" * 32)
    tokens = [vault.token("EMAIL", "ada@example.com") for vault in (one, one, same, other)]
    assert tokens[0] == tokens[1] == tokens[2] != tokens[3]
    assert Vault().token("EMAIL", "a@b.com") != Vault().token("EMAIL", "a@b.com")


def test_spellings_of_one_value_share_a_code_and_come_back_as_they_stood() -> None:
    vault = Vault(KEY)
    spellings = [
        "Ada@Example.com",
        "ada@example.com",
        "\uff21\uff24\uff21@example.com",
        "ada@exam\u00adple.com",
    ]
    tokens = [vault.token("EMAIL", spelling) for spelling in spellings]
    assert tokens == [tokens[0], f"{tokens[0]}2", f"{tokens[0]}3", f"{tokens[0]}4"]
    assert [vault.value(read(token)) for token in tokens] == spellings
    assert vault.token("CARD", "4242 4242")[-8:] == vault.token("CARD", "42424242")[-9:-1]


def test_one_value_of_two_kinds_has_two_codes() -> None:
    vault = Vault(KEY)
    assert vault.token("EMAIL", "x")[-8:] != vault.token("CARD", "x")[-8:]


@given(st.text())
def test_case_and_spaces_do_not_matter_to_the_canonical_form(text: str) -> None:
    assert canonical(f" {text}\u00ad\u00a0") == canonical(text)
    assert canonical(text.casefold()) == canonical(text) or not text.isascii()


def test_when_two_values_draw_one_code_the_second_gets_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = iter(["22345678", "7F3K9QXC", "7F3K9QXC", "CDFHJKMP", "8F3K9QXC"])
    monkeypatch.setattr(module, "_digest", lambda key, text: next(codes))
    vault = Vault(KEY)
    assert vault.token("EMAIL", "a") == "EMAIL_7F3K9QXC"  # all digits is no code
    assert vault.token("EMAIL", "b") == "EMAIL_8F3K9QXC"  # taken, then all letters
    assert vault.value(read("EMAIL_7F3K9QXC")) == "a"
    assert vault.value(read("EMAIL_8F3K9QXC")) == "b"


def test_codes_are_spread_evenly() -> None:
    vault = Vault(KEY)
    codes = "".join(vault.token("CARD", str(number))[-8:] for number in range(4000))
    counts = Counter(codes)
    assert len(counts) == 21
    assert max(counts.values()) < 1.3 * min(counts.values())


def test_a_full_vault_says_what_to_do_and_still_gives_what_it_knows() -> None:
    vault = Vault(KEY, capacity=2)
    first = vault.token("EMAIL", "a")
    vault.token("EMAIL", "A")
    for value in ("b", " a"):
        with pytest.raises(InvalidInput, match="begin another session") as caught:
            vault.token("EMAIL", value)
        assert caught.value.shareable
    assert vault.token("EMAIL", "a") == first
    assert len(vault) == 2


def test_forgetting_a_subject_leaves_what_is_of_others() -> None:
    vault = Vault(KEY)
    shared = vault.token("EMAIL", "family@b.com", "ada")
    assert vault.token("EMAIL", "family@b.com", "bob") == shared
    own, nobodys = vault.token("EMAIL", "ada@b.com", "ada"), vault.token("EMAIL", "c@d.com")
    assert vault.forget("ada") == 1
    assert vault.forget("ada") == 0
    assert vault.value(read(own)) is None
    assert vault.knows(read(own).code)
    assert vault.value(read(shared)) == "family@b.com"
    assert vault.value(read(nobodys)) == "c@d.com"
    assert vault.token("EMAIL", "ada@b.com") != own  # the old one stands for nothing, for ever


def test_clearing_forgets_everything() -> None:
    vault = Vault(KEY)
    token = vault.token("EMAIL", "ada@b.com", "ada")
    vault.token("CARD", "1")
    assert vault.clear() == 2
    assert len(vault) == 0
    assert vault.value(read(token)) is None
    held = [value for value in vars(vault).values() if value is not vault._lock]
    assert "ada@b.com" not in repr(held)


def test_it_shows_no_value_and_stays_where_it_is() -> None:
    vault = Vault(KEY)
    vault.token("EMAIL", "ada@b.com")
    assert f"{vault} {vault!r}" == "Vault(1 values, ****) Vault(1 values, ****)"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="stays where it is"):
            leave(vault)


def test_a_short_key_is_refused_with_the_cure() -> None:
    with pytest.raises(UsageError, match="32 random bytes"):
        Vault(b"short")


def test_threads_that_ask_for_the_same_values_get_the_same_tokens() -> None:
    vault = Vault(KEY)

    def take(_: int) -> list[str]:
        return [vault.token("EMAIL", f"{number}@b.com") for number in range(300)]

    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(take, range(16)))
    assert all(tokens == taken[0] for tokens in taken)
    assert len(vault) == len(set(taken[0])) == 300
