"""What the peers' servers share: their command line, the chunks of a stream, the model."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = "a" * 20
CORES = len(os.sched_getaffinity(0))
MAX_BATCH, MAX_WAIT_SECONDS = 32, 0.003

_GIVEN = "BENCH_ARGUMENTS"


def arguments() -> argparse.Namespace:
    """Return the port, the folder of the model if one is to be served, and how it batches."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--batching", choices=("on", "off"), default="on")
    # Frameworks start workers that read the script anew, with a command line of their own.
    given = json.loads(os.environ.setdefault(_GIVEN, json.dumps(sys.argv[1:])))
    return parser.parse_args(given)


class Embedder:
    """Texts to vectors, by a model folder of the library's store.

    Args:
        folder: The model's folder.
        threads: Threads of one run.
    """

    def __init__(self, folder: Path | str, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        path = Path(folder)
        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph, only = str(path / "onnx/model.onnx"), ["CPUExecutionProvider"]
        self._session: Any = onnxruntime.InferenceSession(graph, options, providers=only)
        self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        longest = json.loads((path / "manifest.json").read_text())["options"]["max_length"]
        self._tokenizer.enable_truncation(longest)
        self._tokenizer.enable_padding()  # to the longest of a batch

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector a text."""
        found = self._tokenizer.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in found], np.int64)
        mask = np.array([encoding.attention_mask for encoding in found], np.int64)
        answers = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        vectors: NDArray[np.float32] = answers[0]
        return vectors


def embedder_for(arguments: argparse.Namespace) -> Embedder:
    """Return a model that uses all cores, or one of them if batching is off."""
    return Embedder(arguments.model, CORES if arguments.batching == "on" else 1)
