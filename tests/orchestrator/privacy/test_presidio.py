import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from orchestrator.privacy.catalog import recognisers_named
from orchestrator.privacy.presidio import PresidioRecogniser
from orchestrator.privacy.recognisers import Span
from orchestrator.privacy.redact import redact


@dataclass
class Found:
    """A find in the shape of Presidio's RecognizerResult."""

    entity_type: str
    start: int
    end: int
    score: float


class FakeAnalyser:
    """Answers as Presidio's AnalyzerEngine does."""

    def __init__(self, *results: Found) -> None:
        self.results = results
        self.asked: list[tuple[str, str]] = []

    def analyze(self, text: str, language: str) -> Sequence[Found]:
        self.asked.append((text, language))
        return self.results


def test_what_presidio_finds_bears_our_name_where_we_have_one() -> None:
    analyser = FakeAnalyser(Found("PERSON", 0, 3, 0.85), Found("EMAIL_ADDRESS", 5, 20, 1.0))
    found = list(PresidioRecogniser(analyser).find("Ada, ada@example.com"))
    assert found == [Span("person", 0, 3), Span("email", 5, 20)]
    assert analyser.asked == [("Ada, ada@example.com", "en")]


def test_what_it_is_not_sure_of_is_left_out() -> None:
    analyser = FakeAnalyser(Found("US_BANK_NUMBER", 0, 8, 0.05), Found("PERSON", 9, 12, 0.4))
    assert [span.kind for span in PresidioRecogniser(analyser).find("12345678 Ada")] == ["person"]
    sure = PresidioRecogniser(analyser, least_score=0.5)
    assert list(sure.find("12345678 Ada")) == []


def test_it_works_beside_the_others() -> None:
    people = PresidioRecogniser(FakeAnalyser(Found("PERSON", 0, 3, 0.85)), language="de")
    masked = redact("Ada, ada@example.com", [*recognisers_named(["email"]), people])
    assert masked.text == "[PERSON], [EMAIL]"


def test_without_presidio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ImportError, match=r"pip install 'isthmus\[pii\]'"):
        recognisers_named(["presidio"])
