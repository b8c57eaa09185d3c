from pathlib import Path
from statistics import median

from orchestrator.bench.texts import LONGEST, SHORTEST, mixed_lengths, texts_of
from orchestrator.models.store import ModelStore
from orchestrator.models.text import TextProcessor


def test_mixed_lengths_are_short_mostly_and_long_sometimes() -> None:
    lengths = mixed_lengths(1000)
    assert 26 <= median(lengths) <= 30
    assert (min(lengths), max(lengths)) == (SHORTEST, LONGEST)
    assert lengths == mixed_lengths(1000)


def test_texts_have_the_lengths_that_were_asked_for(minilm_store: Path) -> None:
    folder = ModelStore(minilm_store).open("minilm")
    lengths = [8, 28, 128, 9]
    rows = TextProcessor(folder).rows(texts_of(lengths, folder))
    assert [len(row["input_ids"]) for row in rows] == lengths
