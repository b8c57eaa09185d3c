import os
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.bench.limit import Limit
from orchestrator.bench.servers import shared
from orchestrator.models.store import ModelStore
from orchestrator.models.text import TextEmbedding


def test_the_peers_model_answers_what_the_library_s_does(minilm_store: Path) -> None:
    texts = ["one text", "another one that is longer than the first"]
    limit = Limit(TextEmbedding("minilm"), ModelStore(minilm_store).open("minilm"), texts)
    vectors = shared.Embedder(minilm_store / "minilm", 1).embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.allclose(vector, limit.vector(text), atol=1e-5)


def test_a_worker_with_another_command_line_has_the_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "argv", ["server", "--port", "7", "--batching", "off"])
    first = shared.arguments()
    monkeypatch.setattr(sys, "argv", ["server", "--timeout", "3"])
    assert shared.arguments() == first
    assert (first.port, first.model, first.batching) == (7, None, "off")
