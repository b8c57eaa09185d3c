from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from orchestrator.core.context import calling_through
from orchestrator.core.errors import InvalidInput, UsageError
from orchestrator.core.model import Array, Row
from orchestrator.decorators import edge_service
from orchestrator.models.store import ModelStore
from orchestrator.models.text import TextEmbedding, TextProcessor, Vectors
from orchestrator.serving.local import LocalCaller
from orchestrator.testing import running_node

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def processor(minilm_store: Path) -> TextProcessor:
    """MiniLM's own tokenizer and what goes around it."""
    return TextProcessor(ModelStore(minilm_store).open("minilm"))


def tokens(row: Row) -> list[int]:
    return [int(token) for token in row["input_ids"]]


def test_a_text_becomes_its_tokens_between_the_models_marks(processor: TextProcessor) -> None:
    (row,) = processor.rows(["hello world"])
    assert tokens(row) == [CLS, 7592, 2088, SEP]
    assert row["input_ids"].dtype == np.int64


def test_an_empty_text_is_a_text(processor: TextProcessor) -> None:
    assert [tokens(row) for row in processor.rows(["", "   "])] == [[CLS, SEP], [CLS, SEP]]


@pytest.mark.parametrize("text", ["Grüße, 你好 🎉", "a\x00b", "\u202e\ufeff", "e\u0301" * 50])
def test_any_unicode_text_has_tokens(processor: TextProcessor, text: str) -> None:
    (row,) = processor.rows([text])
    assert tokens(row)[0] == CLS
    assert tokens(row)[-1] == SEP


def test_half_a_surrogate_pair_is_invalid_input(processor: TextProcessor) -> None:
    with pytest.raises(InvalidInput):
        processor.rows(["\ud83c"])


def test_a_long_text_is_cut_at_the_models_longest_input(processor: TextProcessor) -> None:
    (row,) = processor.rows(["word " * 10_000])
    assert len(row["input_ids"]) == 256
    assert tokens(row)[-1] == SEP


def test_rows_are_padded_to_the_longest_and_the_padding_is_masked(
    processor: TextProcessor,
) -> None:
    batch = processor.collate(processor.rows(["hello", "hello big wide world"]))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 6)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]
    assert batch["input_ids"][0, 3:].tolist() == [0, 0, 0]


def test_any_texts_may_share_a_batch(processor: TextProcessor) -> None:
    short, long = processor.rows(["hello", "hello big wide world"])
    assert processor.key(short) == processor.key(long)


def test_a_rows_length_is_its_number_of_tokens(processor: TextProcessor) -> None:
    assert [processor.length(row) for row in processor.rows(["", "hello world"])] == [2, 4]


def test_made_up_rows_have_the_length_that_was_asked_for(processor: TextProcessor) -> None:
    assert processor.lengths() == [8, 32, 128]  # the longest input is 256
    few, many = processor.probe(2, 32), processor.probe(5, 32)
    assert [processor.length(row) for row in many] == [32] * 5
    np.testing.assert_array_equal(few[1]["input_ids"], many[1]["input_ids"])
    assert (few[0]["input_ids"] != few[1]["input_ids"]).any()
    assert processor.collate(many)["input_ids"].dtype == np.int64


def test_no_texts_give_no_vectors_of_the_right_width(processor: TextProcessor) -> None:
    assert processor.rows([]) == []
    vectors = processor.result([])
    assert (vectors.shape, vectors.dtype.name) == ((0, 384), "float32")


def test_vectors_come_back_in_the_order_of_their_texts(processor: TextProcessor) -> None:
    rows = processor.split({"sentence_embedding": np.eye(4, 384, dtype=np.float32)}, 3)
    np.testing.assert_array_equal(processor.result(rows), np.eye(3, 384))


def test_outside_of_a_body_it_names_the_way_to_call_it() -> None:
    with pytest.raises(UsageError, match=r"TextEmbedding\('minilm'\) runs inside"):
        TextEmbedding("minilm")(["hello"])


def lengths(batch: Mapping[str, Array], stop: object) -> Mapping[str, Array]:
    counts = batch["attention_mask"].sum(1, keepdims=True)
    return {"sentence_embedding": np.repeat(counts, 384, 1).astype(np.float32)}


async def test_bodies_of_both_kinds_get_one_vector_a_text(minilm_store: Path) -> None:
    minilm = TextEmbedding("minilm")

    @edge_service(models=[minilm])
    def blocking(texts: list[str]) -> Vectors:
        return minilm(texts)

    @edge_service(models=[minilm])
    async def awaited(texts: list[str]) -> Vectors:
        return await minilm.aio(texts)

    node = running_node("edge", blocking, awaited, store=minilm_store, models={"minilm": lengths})
    async with node as running:
        with calling_through(LocalCaller(running)):
            for call in (blocking.aio, awaited):
                vectors = await call(["hello", "", "hello world"])
                assert vectors[:, 0].tolist() == [3, 2, 4]
                assert (await call([])).shape == (0, 384)
