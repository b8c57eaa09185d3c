from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.core.errors import ModelUnavailable
from orchestrator.models.manifest import ONNX, TensorEntry
from orchestrator.models.twin import as_unavailable, make_onnx

Make = Callable[..., list[TensorEntry]]


class Made(torch.nn.Module):
    def __init__(self, forward: Callable[[Any], Any]) -> None:
        super().__init__()
        self._forward = forward

    def forward(self, x: Any) -> Any:
        return self._forward(x)


@pytest.fixture
def steps() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, steps: list[str]) -> Make:
    """Makes the ONNX form of a module of one input, whose rows are so wide."""

    def make(module: torch.nn.Module, width: int = 8, outputs: Any = ("output",)) -> Any:
        inputs = [TensorEntry(name="x", dtype="float32", shape=("batch", width))]
        examples = [{"x": np.ones((rows, width), np.float32)} for rows in (2, 3)]
        return make_onnx(tmp_path, module, inputs, outputs, examples, steps.append)

    return make


def test_the_twin_is_made_and_its_outputs_are_described(
    make: Make, steps: list[str], tmp_path: Path
) -> None:
    (output,) = make(torch.nn.Linear(8, 2))
    assert (output.name, output.dtype, output.shape) == ("output", "float32", ("batch", 2))
    assert (tmp_path / ONNX).is_file()
    assert steps == ["running the torch form", "exporting the ONNX form", "comparing both forms"]


def test_a_module_that_does_not_take_its_inputs_is_told_in_one_line_of_torchs_own(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        make(torch.nn.Linear(8, 2), width=9)
    assert str(caught.value) == (
        "the module cannot be run on the inputs that are declared: RuntimeError: mat1 and mat2 "
        "shapes cannot be multiplied (2x9 and 8x2)"
    )
    assert capfd.readouterr().err == ""


def test_a_module_that_cannot_be_exported_is_told_in_one_line_without_colours(make: Make) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        make(Made(lambda x: x if x.sum() > 0 else x * 2))
    said = str(caught.value)
    assert said.startswith("torch cannot export it: GuardOnDataDependentSymNode: Could not guard")
    assert "\n" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize("answer", [lambda x: {"output": x}, lambda x: (x, None)])
def test_an_answer_that_is_no_tensor_is_refused_with_what_to_return(
    answer: Callable[[Any], Any], make: Make
) -> None:
    with pytest.raises(ModelUnavailable, match="must return a tensor, or a tuple of tensors"):
        make(Made(answer))


def test_outputs_that_have_no_name_or_no_tensor_are_counted(make: Make) -> None:
    for outputs in (["one", "two"], ["one", "two", "three", "four"]):
        with pytest.raises(ModelUnavailable, match=r"tensors returned: 3, outputs named: [24];"):
            make(Made(lambda x: (x, x, x)), outputs=outputs)


def wrapped() -> Iterator[Exception]:
    try:
        raise ValueError("\x1b[96mkeys are missing:\x1b[0m\n\tweight\n\tbias")
    except ValueError as error:
        wrapper = RuntimeError("This is step 1/3. Next steps:")
        wrapper.__cause__ = error
        yield wrapper


def test_what_a_library_raises_is_told_by_what_began_it() -> None:
    (error,) = wrapped()
    with pytest.raises(ModelUnavailable) as caught, as_unavailable("it failed"):
        raise error
    assert str(caught.value) == "it failed: ValueError: keys are missing: weight"


def test_an_error_without_words_is_named_by_its_class() -> None:
    with pytest.raises(ModelUnavailable, match="it failed: KeyboardError: $"):
        with as_unavailable("it failed"):
            raise type("KeyboardError", (Exception,), {})
