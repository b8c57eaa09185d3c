import enum
import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import BaseModel

from orchestrator.core.errors import PrivacyRefused
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive, sealed_value
from orchestrator.privacy.envelopes import Answers, lowered
from orchestrator.privacy.pseudonyms import PseudonymSession
from policies.facts import Label, Level

ADA = "ada@example.com"
LABEL = Label(Level.SENSITIVE, frozenset({"pii"}))


@dataclass(frozen=True)
class Letter:
    to: str
    lines: list[str]
    length: int = field(init=False, default=3)

    def __post_init__(self) -> None:
        if "@" not in self.to:
            raise ValueError(f"no address: {self.to}")


class Pair(NamedTuple):
    one: str
    two: str | None


class Form(BaseModel):
    sender: str
    note: Sensitive[str]


class Colour(enum.StrEnum):
    RED = "red"


@pytest.fixture
def session() -> PseudonymSession:
    return PseudonymSession()


def opened(value: Any) -> Any:
    """Return what is in envelopes, at the first level."""
    assert type(value) is Internal
    assert value.categories == frozenset()
    return sealed_value(value)


@pytest.mark.parametrize(
    "content",
    [
        f"to {ADA}",
        [ADA, [ADA]],
        (ADA, None),
        Pair(ADA, None),
        {ADA: [ADA]},
        {ADA, "x"},
        frozenset({ADA}),
        Letter(ADA, [ADA]),
        Form(sender=ADA, note=Sensitive(ADA)),
    ],
)
def test_text_at_any_depth_of_an_envelope_is_lowered_and_comes_back(
    session: PseudonymSession, content: Any
) -> None:
    sent = lowered("x", Sensitive(content, "pii"), session)
    assert type(opened(sent)) is type(content)
    shown = repr(opened(sent)) + (repr(opened(opened(sent).note)) if type(content) is Form else "")
    assert ADA not in shown
    assert re.search("EMAIL_.{8}", shown)
    back = Answers(session, LABEL).value(sent)
    assert type(back) is Sensitive
    assert back.label == LABEL
    if type(content) is Form:
        assert sealed_value(sealed_value(back).note) == ADA
    else:
        assert sealed_value(back) == content


def test_envelopes_inside_of_plain_values_are_lowered_and_the_rest_is_left(
    session: PseudonymSession,
) -> None:
    plain = {"a": [Sensitive(ADA), ADA, 3], "b": Form(sender=ADA, note=Sensitive(ADA))}
    sent = lowered("x", plain, session)
    assert sent["a"][1:] == [ADA, 3]
    assert sent["b"].sender == ADA
    assert ADA not in opened(sent["a"][0]) + opened(sent["b"].note)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (3, "int"), (True, "bool"), (1.5, "float"), (b"ada", "bytes"), (np.ones(2), "ndarray"),
        (date(1990, 1, 2), "date"), (Colour.RED, "Colour"), ([ADA, 3], "int"), ({1: ADA}, "int"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_refused_by_its_parameter_and_type(
    session: PseudonymSession, content: Any, kind: str
) -> None:
    with pytest.raises(PrivacyRefused) as caught:
        lowered("letter", Sensitive(content), session)
    said = str(caught.value)
    assert f"'letter' holds labelled data of type {kind}, and only text can be" in said
    assert ADA not in said
    assert "1990" not in said


def test_only_what_comes_in_an_envelope_is_restored(session: PseudonymSession) -> None:
    token = session.pseudonymise(ADA)
    answers = Answers(session, LABEL)
    back = answers.value([token, Internal({"n": 3, "t": token}), Secret(token, "phi")])
    assert back[0] == token
    assert sealed_value(back[1]) == {"n": 3, "t": ADA}
    assert [part.label for part in back[1:]] == [
        LABEL,
        Label(Level.SECRET, frozenset({"pii", "phi"})),
    ]


def test_tokens_that_are_left_are_counted(session: PseudonymSession) -> None:
    token = session.pseudonymise(ADA)
    answers = Answers(session, LABEL)
    answers.value(Internal(f"{token} {token[:-2]} NAME_2C3D4F5H"))
    assert (answers.unresolved, answers.invented) == (1, 1)
    answers.feed(Internal("EMAIL_2C3D4F5H."))
    answers.rest()
    assert (answers.unresolved, answers.invented) == (1, 2)


def texts(chunks: list[Labelled[Any]]) -> list[Any]:
    assert all(chunk.label == LABEL for chunk in chunks)
    return [sealed_value(chunk) for chunk in chunks]


def test_a_stream_of_text_is_restored_over_the_borders_of_its_chunks(
    session: PseudonymSession,
) -> None:
    token, answers = session.pseudonymise(ADA), Answers(session, LABEL)
    assert texts(answers.feed(Internal("to "))) == ["to "]
    assert answers.feed(Internal(token[:8])) == []
    assert answers.feed(Internal(token[8:])) == []
    assert texts(answers.feed(Internal(["list", token]))) == [ADA, "", ["list", ADA]]
    assert answers.feed(Internal(token)) == []
    assert texts(answers.rest()) == [ADA]
    assert answers.rest() == []
