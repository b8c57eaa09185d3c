"""Adding a model to the store: its torch form as it is, its ONNX form exported and compared."""

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.core.errors import ModelUnavailable, UsageError
from orchestrator.core.model import Batch, TensorSpec
from orchestrator.models.manifest import TORCH, Manifest, TensorEntry
from orchestrator.models.store import ModelStore, write_manifest
from orchestrator.models.tensor import WEIGHTS, build_module
from orchestrator.models.text import TOKENIZER
from orchestrator.models.twin import Progress, as_unavailable, make_onnx

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
        with as_unavailable("transformers cannot load it"):
            module = sentence_encoder(folder / TORCH, options["pooling"], options["normalise"])
        inputs = [
            TensorEntry(name=part, dtype="int64", shape=("batch", "sequence"))
            for part in ("input_ids", "attention_mask")
        ]
        examples = [_tokens(2, 8), _tokens(3, 17)]
        answers = make_onnx(folder, module, inputs, [_VECTOR], examples, progress)
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
        UsageError: An extra is not installed, no input is named, or there are no such weights.
        ModelUnavailable: The factory fails, or the exported form differs from the torch form.
    """
    _need_extra()
    from safetensors.torch import save_file

    if not inputs:
        raise UsageError(
            f"model {name!r} names no inputs: give each input of its forward, in order, such as "
            "--input 'x:float32[batch,8]'"
        )
    module = _built(factory, name, weights)
    with store.adding(name, replace=replace) as folder:
        progress("saving the weights")
        (folder / TORCH).mkdir()
        state = {key: part.contiguous().clone() for key, part in module.state_dict().items()}
        with as_unavailable("its weights cannot be saved"):
            save_file(state, folder / WEIGHTS)
        entries = [TensorEntry.of(spec) for spec in inputs]
        examples = [_random(entries, 2, seed=0), _random(entries, 3, seed=1)]
        answers = make_onnx(folder, module, entries, outputs, examples, progress)
        return write_manifest(folder, "tensor", entries, answers, {})


def _built(factory: str, name: str, weights: Path | None) -> Any:
    """Return what a factory makes, with the weights of a file if one is given."""
    import torch
    from safetensors.torch import load_file

    if weights and not weights.is_file():
        raise UsageError(f"there is no file of weights {weights}: give a safetensors file")
    module = build_module(factory, name)
    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        raise ModelUnavailable(
            f"the factory {factory!r} gave a value of type {kind}, not a torch.nn.Module"
        )
    if weights:
        with as_unavailable("the weights do not fit the module"):
            module.load_state_dict(load_file(weights))
    return module.eval()


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
