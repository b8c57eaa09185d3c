import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.models.encoder import sentence_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small BERT with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=120,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(path)
    return path


def encode(folder: Path, ids: list[list[int]], mask: list[list[int]], **options: Any) -> Any:
    import torch

    encoder = sentence_encoder(folder, **{"pooling": "mean", "normalise": True, **options})
    with torch.inference_mode():
        return encoder(torch.tensor(ids), torch.tensor(mask)).numpy()


def test_vectors_have_length_one_if_so_wished(folder: Path) -> None:
    ids, mask = [[5, 6, 7]], [[1, 1, 1]]
    assert np.linalg.norm(encode(folder, ids, mask)) == pytest.approx(1.0)
    assert np.linalg.norm(encode(folder, ids, mask, normalise=False)) != pytest.approx(1.0)


def test_padding_does_not_count(folder: Path) -> None:
    padded = encode(folder, [[5, 6, 7, 0, 0], [5, 6, 7, 99, 98]], [[1, 1, 1, 0, 0]] * 2)
    alone = encode(folder, [[5, 6, 7]], [[1, 1, 1]])
    np.testing.assert_allclose(padded, np.repeat(alone, 2, 0), atol=1e-6)


def test_the_mean_is_over_tokens_and_cls_is_the_first_of_them(folder: Path) -> None:
    ids, mask = [[5, 6, 7]], [[1, 1, 1]]
    mean = encode(folder, ids, mask, normalise=False)
    first = encode(folder, ids, mask, normalise=False, pooling="cls")
    assert not np.allclose(mean, first)
    single = encode(folder, [[5]], [[1]], normalise=False)
    np.testing.assert_allclose(
        single, encode(folder, [[5]], [[1]], normalise=False, pooling="cls"), atol=1e-6
    )


def test_a_row_that_is_all_padding_gives_numbers_and_no_nan(folder: Path) -> None:
    assert np.isfinite(encode(folder, [[0, 0], [5, 6]], [[0, 0], [1, 1]])).all()


def test_it_computes_in_full_precision_and_in_eval_mode(folder: Path, tmp_path: Path) -> None:
    import torch
    from transformers import BertModel

    BertModel.from_pretrained(folder).half().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    encoder = sentence_encoder(tmp_path, "mean", True)
    assert {part.dtype for part in encoder.parameters()} == {torch.float32}
    assert not encoder.training
