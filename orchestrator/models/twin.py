"""The edge twin of a torch module: its ONNX form, exported, and compared with it."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.core.errors import ModelUnavailable, OrchestratorError
from orchestrator.core.model import Array, Batch
from orchestrator.models.manifest import ONNX, TensorEntry

TOLERANCE = 1e-4
"""The most by which an element of the ONNX form may differ from the torch form."""

Progress = Callable[[str], None]
"""Is told each step before it begins."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def make_onnx(
    folder: Path,
    module: Any,
    inputs: Sequence[TensorEntry],
    outputs: Sequence[str],
    examples: Sequence[Batch],
    progress: Progress,
) -> list[TensorEntry]:
    """Export a module, compare both forms on examples, and return what the outputs are.

    Args:
        folder: The model's folder.
        module: The torch form.
        inputs: Its inputs, in the order of its `forward`.
        outputs: Names of what it returns, in order.
        examples: Two batches of unlike size.
        progress: Is told each step before it begins.

    Raises:
        ModelUnavailable: It cannot be run or exported, or both forms differ.
    """
    progress("running the torch form")  # its own words are clearer than those of the exporter
    with as_unavailable("the module cannot be run on the inputs that are declared"):
        expected = [_answer(module, inputs, outputs, one) for one in examples]
    progress("exporting the ONNX form")
    with as_unavailable("torch cannot export it"):
        _export(folder / ONNX, module, inputs, outputs, examples[0])
    progress("comparing both forms")
    with as_unavailable("its two forms cannot be compared"):
        pairs = zip(examples, expected, strict=True)
        first, second = [_compare(folder / ONNX, outputs, *pair) for pair in pairs]
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
def as_unavailable(what: str) -> Iterator[None]:
    """Turn whatever a library or the user's code raises into an error that says what failed."""
    try:
        yield
    except OrchestratorError:
        raise
    except Exception as error:
        raise ModelUnavailable(f"{what}: {_first_words(error)}") from error


def _first_words(error: BaseException) -> str:
    """Return what began the trouble, in one line: exporters wrap it in advice of many lines."""
    while error.__cause__:
        error = error.__cause__
    first, *rest = _COLOURS.sub("", str(error)).strip().splitlines() or [""]
    said = f"{first} {rest[0].strip()}" if rest and first.endswith(":") else first
    return f"{type(error).__name__}: {said}"


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


def _answer(
    module: Any, inputs: Sequence[TensorEntry], outputs: Sequence[str], example: Batch
) -> list[Any]:
    """Return what the torch form gives for an example, one tensor for every output."""
    import torch

    with torch.inference_mode():
        answer = module(*(torch.from_numpy(example[entry.name]) for entry in inputs))
    answers = list(answer) if isinstance(answer, tuple | list) else [answer]
    if not all(isinstance(one, torch.Tensor) for one in answers):
        raise ModelUnavailable("the module must return a tensor, or a tuple of tensors")
    if len(answers) != len(outputs):
        raise ModelUnavailable(
            f"tensors returned: {len(answers)}, outputs named: {len(outputs)}; name each one with "
            "an --output of its own"
        )
    return answers


def _compare(
    path: Path, outputs: Sequence[str], example: Batch, expected: Sequence[Any]
) -> dict[str, Array]:
    """Run the ONNX form on an example; return its outputs by name if they are as expected."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
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
    log = logging.getLogger("torch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
