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
    size = small.file("onnx/model.onnx").stat().st_size
    assert size < full.file("onnx/model.onnx").stat().st_size / 3
    found = await cold_start(tmp_path)
    assert found["ms"] > 0
    assert found["private_mb"] > 20


async def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="model 'minilm' is not in"):
        await cold_start(tmp_path)
