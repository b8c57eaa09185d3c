"""A small form of the recognisers' proof; `make proof PART=recognition` is the large one."""

import pytest

from benchmarks.proofs.recognising import seen, unseen
from benchmarks.proofs.recognising.score import Score, score
from benchmarks.proofs.recognising.texts import ADVERSARIAL, SPLITS, Text, texts
from benchmarks.proofs.recognising.values import MAKERS, STRUCTURED
from benchmarks.proofs.recognition import missed_kinds, prove
from benchmarks.proofs.report import Outcome, markdown
from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.recognisers import Span

EACH = 2


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return prove(EACH)


@pytest.mark.parametrize("words", ["seen templates", "unseen templates", "adversarial", "control"])
def test_a_promise_holds(outcome: Outcome, words: str) -> None:
    check = outcome.check(words)
    assert check.holds, check.seen


def test_the_report_has_a_row_for_every_kind_of_every_split(outcome: Outcome) -> None:
    text = markdown(outcome, 1.0)
    assert all(text.count(f"| {kind} |") == 3 for kind in MAKERS)
    assert "precision" in text
    assert "ms per KB" in text


@pytest.mark.parametrize("split", SPLITS)
def test_few_finds_are_wrong(split: str) -> None:
    assert score(texts(split, EACH, 2), default_recognisers()).precision() > 0.9


def test_no_template_is_in_both_splits() -> None:
    both = [{*split.PRIVATE, *split.HARMLESS} for split in (seen, unseen)]
    assert both[0] & both[1] == set()
    for split in (seen, unseen):
        assert all(f"{{{kind}}}" in "".join(split.PRIVATE) for kind in MAKERS)
        assert not any(f"{{{kind}}}" in "".join(split.HARMLESS) for kind in MAKERS)


@pytest.mark.parametrize("split", [*SPLITS, ADVERSARIAL])
def test_the_same_seed_makes_the_same_texts(split: str) -> None:
    assert list(texts(split, 1, 3)) == list(texts(split, 1, 3))
    assert list(texts(split, 1, 3)) != list(texts(split, 1, 4))


def test_the_places_of_values_are_known() -> None:
    for text in texts("seen", 1, 1):
        for span in text.spans:
            assert 0 <= span.start < span.end <= len(text.text)
            assert text.text[span.start : span.end].strip() == text.text[span.start : span.end]


def test_a_value_counts_as_found_only_whole_and_as_named_only_by_its_kind() -> None:
    text = Text("ada@example.com and 4111", (Span("email", 0, 15), Span("card", 20, 24)))
    counted = Score()
    counted.add(text, [Span("email", 0, 14), Span("phone", 20, 24)])
    assert (counted.recall("email"), counted.recall("card")) == (0.0, 1.0)
    assert counted.named_right("card") == 0.0
    assert (counted.precision("email"), counted.precision("phone")) == (1.0, 0.0)
    assert (counted.texts, counted.clean) == (1, 0)
    counted.add(text, [Span("email", 0, 10), Span("email", 10, 15), Span("card", 20, 24)])
    assert (counted.recall("email"), counted.clean) == (0.5, 1)
    assert counted.f2("email") == pytest.approx(5 * 0.5 / 4.5)


def test_without_any_recogniser_every_kind_is_missed() -> None:
    assert missed_kinds(score(texts("unseen", 1, 1), [])) == list(STRUCTURED)
