"""Adding a model to the store: its torch form as it is, its ONNX form exported and compared."""

import contextlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.core.errors import ModelUnavailable, OrchestratorError, UsageError
from orchestrator.core.model import Array, Batch, TensorSpec
from orchestrator.models.manifest import ONNX, TORCH, Manifest, TensorEntry
from orchestrator.models.store import ModelStore, write_manifest
from orchestrator.models.tensor import WEIGHTS, build_module
from orchestrator.models.text import TOKENIZER

TOLERANCE = 1e-4
"""The most by which an element of the ONNX form may differ from the torch form."""

Progress = Callable[[str], None]
"""Is told each step before it begins."""

_MODULES = ("Transformer", "Pooling", "Normalize")  # of sentence-transformers
_ANY_LENGTH = 10**6

_VECTOR = "sentence_embedding"  # an output must not be called like an ONNX operator


def add_text_embedding(
    store: ModelStore, name: str, source: Path, *, replace: bool = False, progress: Progress = print
) -> Manifest:
    """Make both forms of a text embedding from a local Hugging Face style folder.

    Args:
        store: Where to put it.
        name: What to call it there.
        source: Holds config.json, model.safetensors and tokenizer.json; sentence-transformers'
            pooling and length settings are read where present.
        replace: Whether a model of that name may be replaced.
        progress: Is told each step before it begins.

    Raises:
        UsageError: The folder is no such folder, or an extra is not installed.
        ModelUnavailable: The exported form differs from the torch form.
    """
    _need_extra()
    _check_source(source)
    from orchestrator.models.encoder import sentence_encoder

    options = _text_options(source)
    with store.adding(name, replace=replace) as folder:
        progress("copying files")
        (folder / TORCH).mkdir()
        shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
        for file in ("config.json", "model.safetensors"):
            shutil.copyfile(source / file, folder / TORCH / file)
        progress("loading the torch form")
        with _as_unavailable("transformers cannot load it"):
            module = sentence_encoder(folder / TORCH, options["pooling"], options["normalise"])
        inputs = [
            TensorEntry(name=part, dtype="int64", shape=("batch", "sequence"))
            for part in ("input_ids", "attention_mask")
        ]
        examples = [_tokens(2, 8), _tokens(3, 17)]
        answers = _make_onnx(folder, module, inputs, [_VECTOR], examples, progress)
        return write_manifest(folder, "text-embedding", inputs, answers, options)


def add_tensor_model(
    store: ModelStore,
    name: str,
    factory: str,
    inputs: Sequence[TensorSpec],
    *,
    outputs: Sequence[str] = ("output",),
    weights: Path | None = None,
    replace: bool = False,
    progress: Progress = print,
) -> Manifest:
    """Make both forms of a user's own torch module.

    Args:
        store: Where to put it.
        name: What to call it there.
        factory: What builds the module, "module:function", without arguments.
        inputs: The module's inputs, in the order of its `forward`; named axes are free.
        outputs: Names of what it returns, in order; not the name of an ONNX operator.
        weights: A safetensors file; without one, the module's own weights are kept.
        replace: Whether a model of that name may be replaced.
        progress: Is told each step before it begins.

    Raises:
        UsageError: An extra is not installed.
        ModelUnavailable: The factory fails, or the exported form differs from the torch form.
    """
    _need_extra()
    from safetensors.torch import load_file, save_file

    with _as_unavailable("the weights do not fit the module"):
        module = build_module(factory, name).eval()
        if weights:
            module.load_state_dict(load_file(weights))
    with store.adding(name, replace=replace) as folder:
        progress("saving the weights")
        (folder / TORCH).mkdir()
        state = {key: part.contiguous().clone() for key, part in module.state_dict().items()}
        with _as_unavailable("its weights cannot be saved"):
            save_file(state, folder / WEIGHTS)
        entries = [TensorEntry.of(spec) for spec in inputs]
        examples = [_random(entries, 2, seed=0), _random(entries, 3, seed=1)]
        answers = _make_onnx(folder, module, entries, outputs, examples, progress)
        return write_manifest(folder, "tensor", entries, answers, {})


def _need_extra() -> None:
    missing = [
        part for part in ("torch", "onnx", "onnxscript", "onnxruntime") if not find_spec(part)
    ]
    if missing:
        raise UsageError(
            f"making a model needs {', '.join(missing)}: pip install 'isthmus[export]'"
        )


def _check_source(source: Path) -> None:
    wanted = ("config.json", "model.safetensors", TOKENIZER)
    missing = [name for name in wanted if not (source / name).is_file()]
    if missing:
        raise UsageError(
            f"{source} has no {', '.join(missing)}: a model is made from a local Hugging Face "
            f"style folder with {', '.join(wanted)}; pickled weights are never read"
        )


def _text_options(source: Path) -> dict[str, Any]:
    pooling = _json(source / "1_Pooling" / "config.json")
    modules = [part["type"].rpartition(".")[2] for part in _json(source / "modules.json") or []]
    if unknown := [name for name in modules if name not in _MODULES]:
        raise UsageError(
            f"{source} has a {unknown[0]} after the transformer, which is not known here"
        )
    modes = [name for name, used in pooling.items() if name.startswith("pooling_mode") and used]
    if modes not in ([], ["pooling_mode_mean_tokens"], ["pooling_mode_cls_token"]):
        raise UsageError(f"{source} pools by {', '.join(modes)}: only mean and cls are known here")
    return {
        "pooling": "cls" if modes == ["pooling_mode_cls_token"] else "mean",
        "normalise": not modules or "Normalize" in modules,
        "max_length": _longest(source),
    }


def _longest(source: Path) -> int:
    """Return the most tokens the model takes, from whoever of its files says so."""
    said = (
        _json(source / "sentence_bert_config.json").get("max_seq_length"),
        _json(source / "tokenizer_config.json").get("model_max_length"),
        _json(source / "config.json").get("max_position_embeddings"),
    )
    # Some tokenizers say that they take any length by a very large number.
    return int(next((length for length in said if length and length < _ANY_LENGTH), 512))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error


def _tokens(rows: int, length: int) -> Batch:
    mask = np.ones((rows, length), np.int64)
    mask[0, length // 2 :] = 0  # one row with padding, so that the mask is compared, too
    ids = np.arange(rows * length, dtype=np.int64).reshape(rows, length) % 100 + 1
    return {"input_ids": ids, "attention_mask": mask}


def _random(entries: Sequence[TensorEntry], size: int, seed: int) -> Batch:
    source = np.random.default_rng(seed)
    shapes = {
        e.name: [axis if isinstance(axis, int) else size for axis in e.shape] for e in entries
    }
    # Between 0 and 2: any element type holds it, and it is a valid index where one is wanted.
    return {e.name: (2 * source.random(shapes[e.name])).astype(e.dtype) for e in entries}


def _make_onnx(
    folder: Path,
    module: Any,
    inputs: Sequence[TensorEntry],
    outputs: Sequence[str],
    examples: Sequence[Batch],
    progress: Progress,
) -> list[TensorEntry]:
    """Export a module, compare both forms on examples, and return what the outputs are."""
    progress("exporting the ONNX form")
    with _as_unavailable("torch cannot export it"):
        _export(folder / ONNX, module, inputs, outputs, examples[0])
    progress("comparing both forms")
    with _as_unavailable("its two forms cannot be compared"):
        answers = [_compare(folder / ONNX, module, inputs, outputs, one) for one in examples]
    first, second = answers
    return [_output(name, first[name], second[name], examples) for name in outputs]


def _output(name: str, one: Array, other: Array, examples: Sequence[Batch]) -> TensorEntry:
    """Return what an output is, from two answers: an axis that differs between them is free."""
    rows = [len(next(iter(example.values()))) for example in examples]
    if one.ndim == 0 or [len(one), len(other)] != rows:
        raise ModelUnavailable(
            f"output {name!r} has no batch axis: its first axis must be the rows"
        )
    axes = [
        size if size == again else f"{name}_{place}"
        for place, (size, again) in enumerate(zip(one.shape, other.shape, strict=True))
    ]
    return TensorEntry(name=name, dtype=one.dtype.name, shape=("batch", *axes[1:]))


@contextlib.contextmanager
def _as_unavailable(what: str) -> Iterator[None]:
    """Turn whatever a library or the user's code raises into an error that says what failed."""
    try:
        yield
    except OrchestratorError:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelUnavailable(f"{what}: {type(error).__name__}: {first}") from error


def _export(
    path: Path,
    module: Any,
    inputs: Sequence[TensorEntry],
    outputs: Sequence[str],
    example: Batch,
) -> None:
    """Write a module as ONNX; axes with a name stay free."""
    import torch

    named = {axis for entry in inputs for axis in entry.shape if isinstance(axis, str)}
    axes = {axis: torch.export.Dim(axis) for axis in named}
    shapes = tuple(
        {place: axes[axis] for place, axis in enumerate(entry.shape) if isinstance(axis, str)}
        for entry in inputs
    )
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(torch.from_numpy(example[entry.name]) for entry in inputs),
            dynamo=True,
            input_names=[entry.name for entry in inputs],
            output_names=list(outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
    if program is None:
        raise ModelUnavailable("the export gave no program")
    path.parent.mkdir()
    program.save(path, external_data=False)


def _compare(
    path: Path, module: Any, inputs: Sequence[TensorEntry], outputs: Sequence[str], example: Batch
) -> dict[str, Array]:
    """Run both forms on an example and return the ONNX form's outputs by name."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        answer = module(*(torch.from_numpy(example[entry.name]) for entry in inputs))
    expected = [answer] if isinstance(answer, torch.Tensor) else list(answer)
    given = session.run(list(outputs), dict(example))
    for name, mine, theirs in zip(outputs, given, expected, strict=True):
        difference = float(np.abs(mine.astype(np.float64) - theirs.double().numpy()).max(initial=0))
        if not difference <= TOLERANCE:
            raise ModelUnavailable(
                f"output {name!r} of the ONNX form differs from torch by {difference:.2g}, "
                f"more than {TOLERANCE:.0e}: the export does not compute the same"
            )
    return dict(zip(outputs, given, strict=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporter prints of its own workings; its exceptions pass."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
