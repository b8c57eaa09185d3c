from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_node.runtime import TorchRuntime
from edge_node.runtime import OnnxRuntime
from orchestrator.core.model import Runtime, Stop
from orchestrator.models.store import ModelStore
from orchestrator.models.text import TextEmbedding, TextProcessor, Vectors

Embed = Callable[[list[str]], Vectors]
MODEL = TextEmbedding("minilm")
TEXTS = [
    "",
    "Hello.",
    "My parcel is late. Where is it?",
    "Grüße, 你好 🎉",
    "a" * 500,
    "the same word " * 300,
    "refund",
]


def assert_same(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=0.0, atol=1e-5)


def embedding(runtime: Runtime, store: Path) -> Embed:
    folder = ModelStore(store).open("minilm")
    folder.verify(runtime.tier)
    runtime.load(MODEL, folder)
    processor = TextProcessor(folder)

    def embed(texts: list[str]) -> Vectors:
        batch = processor.collate(processor.rows(texts))
        return processor.result(processor.split(runtime.run("minilm", batch, Stop()), len(texts)))

    return embed


@pytest.fixture(scope="module")
def onnx_form(minilm_store: Path) -> Embed:
    """The real MiniLM on ONNX Runtime."""
    return embedding(OnnxRuntime(), minilm_store)


@pytest.fixture(scope="module")
def torch_form(minilm_store: Path) -> Embed:
    """The real MiniLM on PyTorch."""
    return embedding(TorchRuntime("cpu"), minilm_store)


@pytest.fixture(scope="module", params=["onnx_form", "torch_form"])
def form(request: pytest.FixtureRequest) -> Embed:
    """Each form in turn."""
    embed: Embed = request.getfixturevalue(request.param)
    return embed


def test_both_forms_give_the_same_vectors(onnx_form: Embed, torch_form: Embed) -> None:
    assert_same(onnx_form(TEXTS), torch_form(TEXTS))
    for text in TEXTS:
        assert_same(onnx_form([text]), torch_form([text]))


def test_vectors_have_length_one_and_full_precision(form: Embed) -> None:
    vectors = form(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(mates=st.lists(st.sampled_from(TEXTS), max_size=4), text=st.text(max_size=40))
def test_padding_and_batch_mates_do_not_change_a_vector(
    form: Embed, mates: list[str], text: str
) -> None:
    assert_same(form([*mates, text])[-1], form([text])[0])


def test_texts_of_one_meaning_are_nearer_than_others(form: Embed) -> None:
    late, tracking, password = form(
        ["Where is my parcel?", "The delivery has not arrived yet.", "I forgot my password."]
    )
    assert late @ tracking > late @ password + 0.2
