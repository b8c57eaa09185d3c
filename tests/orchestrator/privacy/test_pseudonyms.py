import asyncio
import pickle
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidInput
from orchestrator.privacy.pseudonyms import PseudonymSession
from orchestrator.privacy.recognisers import Span
from orchestrator.privacy.tokens import Found
from orchestrator.privacy.vault import Vault

LETTER = "Ada <ada@example.com> paid with 4242 4242 4242 4242; ask ADA@example.com."


class Words:
    """Finds words of a list, wherever they stand."""

    def __init__(self, kind: str, *words: str) -> None:
        self.kind = kind
        self.pattern = re.compile("|".join(map(re.escape, words)))

    def find(self, text: str) -> Iterator[Span]:
        for match in self.pattern.finditer(text):
            yield Span(self.kind, *match.span())


def test_values_become_tokens_and_come_back() -> None:
    session = PseudonymSession()
    sent = session.pseudonymise(LETTER)
    shown = re.sub("[2-9CDFHJKMPQVWXY]{8}", "########", sent)
    assert shown == "Ada <EMAIL_########> paid with CARD_########; ask EMAIL_########2."
    assert session.restore(sent).text == LETTER
    assert session.counts == {"email": 2, "card": 1}


def test_the_same_value_has_one_token_in_a_session_and_another_in_another() -> None:
    one, other = PseudonymSession(), PseudonymSession()
    assert one.pseudonymise("a@b.com, a@b.com").count(one.pseudonymise("a@b.com")) == 2
    assert one.pseudonymise("a@b.com") != other.pseudonymise("a@b.com")
    key = b"k" * 32
    assert PseudonymSession(key=key).pseudonymise(LETTER) == PseudonymSession(key=key).pseudonymise(
        LETTER
    )


def test_what_looks_like_a_token_is_not_taken_for_one() -> None:
    session, other = PseudonymSession(), PseudonymSession()
    own, foreign = session.pseudonymise("a@b.com"), other.pseudonymise("a@b.com")
    text = f"{own} {own.lower()} {foreign} email {own[6:10]} {own[10:]} EMAIL_7F a@b.com"
    sent = session.pseudonymise(text)
    assert sent.count(own) == 1
    restored = session.restore(sent)
    assert restored.text == text
    assert (restored.unresolved, restored.invented) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        "xAdax Ada2 2Ada _Ada_ Ada_2 Ada\\n \\nAda %20Ada -Ada- Ada\n7F3K9QXC CARD Ada",
        "AdaAda Ada\u00adAda Ada-\nAda",
        "Ada" + "x" * 5000,
        "EMAIL_Ada EMAIL_7F3KAda Ada_7F3K9QXC PERSON\nAda",
        "\ud800Ada\udfff",
        "Ada's Ada\u2019s",
    ],
)
def test_a_value_comes_back_whatever_stands_beside_it(text: str) -> None:
    session = PseudonymSession([Words("person", "Ada")])
    sent = session.pseudonymise(text)
    assert "Ada" not in sent
    assert session.restore(sent).text == text


def test_where_recognisers_overlap_all_is_replaced_under_the_name_of_the_first() -> None:
    session = PseudonymSession([Words("name", "Ada Love"), Words("place", "Lovelace")])
    assert re.fullmatch("to NAME_.{8}!", session.pseudonymise("to Ada Lovelace!"))
    assert session.counts == {"name": 1}


WORDS = r"Ada|ada|C|EMAIL_|PERSON_|7F3K9QXC|2|_|\n|\u005f| |%20|'s|a@b.com|A@B.com|4242424242424242"
tricky = st.sampled_from([*WORDS.split("|"), "LITERAL", "-\n", "\u00ad", "\u00e9", "\ud800"])
SESSION = PseudonymSession([Words("person", "Ada", "ada"), Words("dvd", "C")], capacity=10**6)


@settings(max_examples=500)
@given(st.lists(tricky | st.text(max_size=6), max_size=20).map("".join))
def test_restoring_undoes_pseudonymising_for_every_text(text: str) -> None:
    sent = SESSION.pseudonymise(text)
    assert "Ada" not in sent
    assert SESSION.restore(sent).text == text
    twice = SESSION.pseudonymise(sent + text)  # now with tokens of this very session in it
    assert SESSION.restore(twice).text == sent + text


def test_a_text_whose_tokens_would_be_misread_becomes_one_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.privacy.pseudonyms.places", lambda text, vault: [])
    session = PseudonymSession()
    sent = session.pseudonymise(LETTER)
    assert re.fullmatch("LITERAL_.{8}", sent)
    assert session.restore(sent).text == LETTER
    assert session.counts == {"LITERAL": 1}


def test_a_restore_that_is_broken_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(vault: Vault, found: Found) -> str:
        return vault._codes[found.code].values[0]  # whatever the spelling

    monkeypatch.setattr(Vault, "value", value)
    session = PseudonymSession([Words("person", "Ada", "ada")])
    assert session.restore(session.pseudonymise("Ada, Ada")).text == "Ada, Ada"
    wrong = session.restore(session.pseudonymise("Ada") + session._vault.token("PERSON", "ada"))
    assert "ada" not in wrong.text


def test_threads_share_a_session() -> None:
    session = PseudonymSession()

    def play(thread: int) -> list[bool]:
        texts = [f"{n}@b.com wrote to {n + thread % 3}@b.com" for n in range(40)]
        return [session.restore(session.pseudonymise(text)).text == text for text in texts]

    with ThreadPoolExecutor(16) as pool:
        assert all(all(played) for played in pool.map(play, range(16)))


async def test_tasks_share_a_session() -> None:
    session = PseudonymSession()

    async def play(number: int) -> bool:
        sent = await asyncio.to_thread(session.pseudonymise, f"{number}@b.com")
        return session.restore(sent).text == f"{number}@b.com"

    assert all(await asyncio.gather(*(play(number % 10) for number in range(50))))


def test_a_subject_is_forgotten_and_its_tokens_are_told() -> None:
    session = PseudonymSession()
    sent = session.pseudonymise("ada@b.com", subject="ada")
    kept = session.pseudonymise("bob@b.com", subject="bob")
    assert session.forget("ada") == 1
    assert session.restore(f"{sent} {kept}").text == f"{sent} bob@b.com"
    assert session.restore(sent).unresolved == (sent,)
    assert session.clear() == 1


def test_a_full_session_is_an_error_and_not_a_leak() -> None:
    session = PseudonymSession(capacity=1)
    session.pseudonymise("a@b.com")
    with pytest.raises(InvalidInput, match="the vault holds the 1 values it may"):
        session.pseudonymise("a@b.com and c@d.com")


def test_it_shows_nothing_and_stays_where_it_is() -> None:
    session = PseudonymSession()
    session.pseudonymise("ada@b.com")
    assert repr(session) == "PseudonymSession(1 values, ****)"
    with pytest.raises(TypeError, match="stays where it is"):
        pickle.dumps(session)


@pytest.mark.parametrize("part", ["Ada", "xAda", "Ada ", "EMAIL_7F3K9QXC ", "PERSON_", "ada_2C "])
def test_it_takes_time_in_line_with_the_length_of_a_text(part: str) -> None:
    def seconds(length: int) -> float:
        text, session = part * (length // len(part)), PseudonymSession([Words("person", "Ada")])
        began = time.process_time()
        assert session.restore(session.pseudonymise(text)).text == text
        return time.process_time() - began

    taken = [min(seconds(length) for _ in range(2)) for length in (5_000, 40_000)]
    assert taken[1] < 24 * max(taken[0], 1e-3)  # 8 times as long a text
