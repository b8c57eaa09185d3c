"""TextEmbedding: texts to vectors, the same in both forms."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import InvalidInput
from orchestrator.core.model import Batch, ModelFolder, Row
from orchestrator.core.running import node_here

TOKENIZER = "tokenizer.json"

Vectors = NDArray[np.float32]


class TextEmbedding:
    """A model that turns texts into vectors of length one.

    Call it inside a service's body: it means the form of the node the body runs on.

    Args:
        name: Its name in the model store of every node.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, texts: list[str]) -> Vectors:
        """Return one vector a text, in a `def` body.

        Args:
            texts: What to embed; longer ones are cut at the model's longest input.

        Returns:
            An array of shape (texts, dimensions).
        """
        return cast(Vectors, node_here(repr(self)).run_model_blocking(self, texts))

    async def aio(self, texts: list[str]) -> Vectors:
        """Return one vector a text, in an `async def` body; see `__call__`."""
        return cast(Vectors, await node_here(repr(self)).run_model(self, texts))

    def processor(self, folder: ModelFolder) -> "TextProcessor":
        """Return the tokenizer and what goes around it."""
        return TextProcessor(folder)

    def module(self, folder: ModelFolder) -> Any:
        """Return the torch form."""
        from orchestrator.models.encoder import sentence_encoder

        path = folder.file("torch/config.json").parent
        return sentence_encoder(
            path, str(folder.options["pooling"]), bool(folder.options["normalise"])
        )

    def __repr__(self) -> str:
        return f"TextEmbedding({self.name!r})"


class TextProcessor:
    """Texts to token rows, padded batches, and vectors back."""

    def __init__(self, folder: ModelFolder) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder.file(TOKENIZER)))
        self._tokenizer.no_padding()
        self._max_length = int(folder.options["max_length"])
        self._tokenizer.enable_truncation(self._max_length)
        self._output = folder.outputs[0]

    def rows(self, inputs: Sequence[str]) -> Sequence[Row]:
        """Return the token ids of each text."""
        try:
            encodings = self._tokenizer.encode_batch(list(inputs))
        except TypeError:  # half a surrogate pair, or no text at all
            raise InvalidInput("a text is no valid Unicode", shareable=True) from None
        return [{"input_ids": np.array(encoding.ids, np.int64)} for encoding in encodings]

    def key(self, row: Row) -> object:
        """Return the same for all rows: any texts may share a batch."""
        return None

    def length(self, row: Row) -> int:
        """Return the number of tokens."""
        return len(row["input_ids"])

    def lengths(self) -> Sequence[int]:
        """Return lengths from a short text's on, each four times the one before."""
        return [n for n in (8, 32, 128, 512) if n <= self._max_length] or [self._max_length]

    def probe(self, count: int, length: int) -> Sequence[Row]:
        """Return random token ids."""
        size = self._tokenizer.get_vocab_size()
        return [
            {"input_ids": np.random.default_rng((index, length)).integers(0, size, length)}
            for index in range(count)
        ]

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Pad token ids to the longest row and mask the padding."""
        lengths = np.array([len(row["input_ids"]) for row in rows])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.zeros(mask.shape, np.int64)
        ids[mask] = np.concatenate([row["input_ids"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        """Return one vector a row."""
        return [{self._output.name: vector} for vector in batch[self._output.name][:count]]

    def result(self, rows: Sequence[Row]) -> Vectors:
        """Return the vectors as one array."""
        vectors = [row[self._output.name] for row in rows]
        return (
            np.stack(vectors) if vectors else np.zeros((0, int(self._output.shape[1])), np.float32)
        )

    def example(self) -> list[str]:
        """Return a short text."""
        return ["A short text to warm up with."]
