"""Making the INT8 graph of a model, and comparing it with the exported one."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from orchestrator.core.errors import ModelUnavailable, UsageError
from orchestrator.core.model import Processor, Row
from orchestrator.models.manifest import INT8, MANIFEST, ONNX, GraphEntry, Manifest
from orchestrator.models.parity import relative_error
from orchestrator.models.store import LEARNED, ModelStore, StoredModel, write_manifest
from orchestrator.models.tensor import TensorProcessor
from orchestrator.models.text import TextProcessor
from orchestrator.models.twin import Progress, as_unavailable

TOLERANCE = 0.25
"""How far INT8 answers may be from the exported graph's unless told: a cosine of 0.97."""

_ROWS = 4  # of each length are compared
_LENGTHS = 3


def quantise(
    store: ModelStore, name: str, *, tolerance: float = TOLERANCE, progress: Progress = print
) -> Manifest:
    """Put an INT8 graph beside the exported one, for edge nodes to choose where it is faster.

    Weights are quantised by output channel ahead, activations by tensor while it runs (dynamic
    quantisation, Krishnamoorthi 2018). Every answer of the new graph is compared with that of
    the exported one, on made-up rows of several lengths.

    Args:
        store: Where the model is.
        name: Its name there.
        tolerance: The most by which a row's answer may differ, as a part of its norm.
        progress: Is told each step before it begins.

    Raises:
        UsageError: An extra is not installed, or the tolerance makes no sense.
        ModelUnavailable: There is no such model, it cannot be quantised, or it differs by more.
    """
    missing = [part for part in ("onnx", "onnxruntime") if not find_spec(part)]
    if missing:
        raise UsageError(
            f"quantising needs {', '.join(missing)}: pip install 'isthmus[export,edge]'"
        )
    if not 0 < tolerance < 1:
        raise UsageError(f"a tolerance of {tolerance:g} makes no sense: give a part of 1")
    stored = store.open(name)
    stored.verify()  # all of it: its files get new entries in the manifest
    stored.file(ONNX)
    manifest = stored.manifest
    with store.adding(name, replace=True) as folder:
        progress("copying files")
        left_out = shutil.ignore_patterns(MANIFEST, LEARNED)
        shutil.copytree(stored.path, folder, dirs_exist_ok=True, ignore=left_out)
        progress("quantising the weights")
        with as_unavailable("it cannot be quantised"):
            _quantise(folder / ONNX, folder / INT8)
        progress("comparing both graphs")
        with as_unavailable("its graphs cannot be compared"):
            error = _error(stored, folder)
        if not error <= tolerance:
            raise ModelUnavailable(
                f"an answer of the INT8 graph differs by {error:.3f} of its norm, more than "
                f"{tolerance:g}: the model stays in full precision; --tolerance allows more"
            )
        entry = GraphEntry(path=INT8, precision="int8", error=error, tolerance=tolerance)
        return write_manifest(
            folder, manifest.kind, manifest.inputs, manifest.outputs, manifest.options, [entry]
        )


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the advice that the quantiser logs on the root logger."""
    log = logging.getLogger()
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _error(stored: StoredModel, folder: Path) -> float:
    """Return how far the quantised graph is from the exported one, each row by itself."""
    texts = stored.manifest.kind == "text-embedding"
    processor: Processor = TextProcessor(stored) if texts else TensorProcessor(stored)
    lengths = list(processor.lengths())[:_LENGTHS]
    rows = [row for length in lengths for row in processor.probe(_ROWS, length)]
    wanted = [spec.name for spec in stored.outputs]
    answers = [_answers(folder / path, processor, rows, wanted) for path in (INT8, ONNX)]
    return relative_error(*answers)


def _answers(
    path: Path, processor: Processor, rows: Sequence[Row], outputs: Sequence[str]
) -> list[Row]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    runs = (session.run(list(outputs), dict(processor.collate([row]))) for row in rows)
    return [dict(zip(outputs, (array[0] for array in run), strict=True)) for run in runs]
