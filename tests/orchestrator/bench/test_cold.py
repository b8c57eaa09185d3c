from pathlib import Path

import pytest

from orchestrator.bench.cold import cold_start, quantised_store
from orchestrator.bench.turns import CannotRunError
from orchestrator.models.store import ModelStore


async def test_a_node_starts_with_a_quantised_model_that_takes_less(
    minilm_store: Path, tmp_path: Path
) -> None:
    quantised_store(minilm_store, tmp_path)
    full, small = (ModelStore(store).open("minilm") for store in (minilm_store, tmp_path))
    small.verify("edge")
    assert [graph.precision for graph in full.graphs] == ["full"]
    assert [graph.precision for graph in small.graphs] == ["full", "int8"]
    found = await cold_start(tmp_path, "int8")
    assert found["ms"] > 0
    assert found["private_mb"] > 20


def test_what_cannot_be_quantised_is_told(
    minilm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.models.quantise.find_spec", lambda name: None)
    with pytest.raises(CannotRunError, match="pip install 'isthmus"):
        quantised_store(minilm_store, tmp_path)


async def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="model 'minilm' is not in"):
        await cold_start(tmp_path, "full")
