from pathlib import Path

import numpy as np
import pytest

from orchestrator.bench.limit import BUCKETS, Limit
from orchestrator.bench.texts import mixed_lengths, texts_of
from orchestrator.bench.turns import CannotRunError
from orchestrator.models.store import ModelStore
from orchestrator.models.text import TextEmbedding

MINILM = TextEmbedding("minilm")


def test_the_limit_is_the_fastest_way_of_those_tried(minilm_store: Path) -> None:
    folder = ModelStore(minilm_store).open("minilm")
    limit = Limit(MINILM, folder, texts_of(mixed_lengths(32), folder))
    figures, texts = limit.best()
    assert texts % 32 == 0
    assert texts >= 32 * 2 * 2  # graphs fused or not, two sizes of buckets
    assert figures["texts_per_second"] > 0
    assert figures["bucket"] in BUCKETS
    assert limit.best()[1] == 64  # the two fastest ways only
    vector = limit.vector("one text")
    assert vector.shape == (384,)
    assert np.isclose(np.linalg.norm(vector), 1)


def test_without_a_runtime_there_is_no_limit(
    minilm_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.bench.limit.find_runtime", lambda tier: None)
    folder = ModelStore(minilm_store).open("minilm")
    with pytest.raises(CannotRunError, match=r"pip install 'isthmus\[edge\]'"):
        Limit(MINILM, folder, ["one text"])
