import json
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.demo.generate import COUNT, INBOX, TOPICS, make_inbox
from orchestrator.demo.job import read_inbox
from orchestrator.privacy.redact import redact


def test_the_committed_inbox_is_what_the_generator_makes() -> None:
    assert json.loads(INBOX.read_text())["messages"] == make_inbox()


def test_the_inbox_says_that_it_is_synthetic() -> None:
    assert json.loads(INBOX.read_text())["note"].startswith("Synthetic: made by generate.py")


def test_the_inbox_is_about_every_topic_and_partly_confidential() -> None:
    messages = read_inbox()
    assert [message.id for message in messages] == list(range(1, COUNT + 1))
    assert set(Counter(message.topic for message in messages)) == set(TOPICS)
    confidential = sum(message.confidential for message in messages)
    assert 0.03 * COUNT < confidential < 0.25 * COUNT


def test_every_message_that_may_travel_loses_its_personal_data() -> None:
    for message in read_inbox():
        text = redact(message.text).text
        assert "@" not in text, text
        assert not re.search(r"\d(?:[ -]?\d){6,}", text), text  # no phone, card or account


def test_the_personal_data_are_of_every_kind_the_redaction_knows() -> None:
    found = Counter[str]()
    for message in read_inbox():
        found.update(redact(message.text).counts)
    assert set(found) == {"email", "phone", "card", "iban"}


def test_addresses_and_numbers_are_those_that_belong_to_nobody() -> None:
    text = INBOX.read_text()
    domains = set(re.findall(r"@([\w.]+\w)", text))
    assert domains <= {"example.com", "example.org", "example.net"}
    assert all(iban[4:14].replace(" ", "")[:8] == "00000000" for iban in ibans(text))


def ibans(text: str) -> list[str]:
    found = re.findall(r"DE\d\d(?: \d{1,4})+", text)
    assert found
    return found


@given(st.integers(), st.integers(0, 300))
def test_a_seed_always_gives_the_same_inbox_of_the_asked_length(seed: int, count: int) -> None:
    made = make_inbox(seed, count)
    assert made == make_inbox(seed, count)
    assert len(made) == count
    assert {message["topic"] for message in made} <= set(TOPICS)


def test_another_seed_gives_another_inbox() -> None:
    assert make_inbox(1) != make_inbox(2)
