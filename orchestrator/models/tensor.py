"""TensorModel: raw tensors in, raw tensors out; the user's own network."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

import numpy as np

from orchestrator.core.errors import InvalidInput, ModelUnavailable
from orchestrator.core.model import Array, Batch, ModelFolder, Row, TensorSpec
from orchestrator.core.running import node_here

WEIGHTS = "torch/model.safetensors"

Tensors = dict[str, np.ndarray]


class TensorModel:
    """A model from named arrays to named arrays; the first axis of each is the batch.

    Call it inside a service's body: it means the form of the node the body runs on.

    Args:
        name: Its name in the model store of every node.
        factory: What builds the torch module, as "module:function" of your app, without
            arguments; the store holds its weights. The edge does not need it. It stands in your
            code and not in the store, so that a model's files can never choose what is run.
    """

    def __init__(self, name: str, factory: str = "") -> None:
        self.name = name
        self.factory = factory

    def __call__(self, inputs: Tensors) -> Tensors:
        """Return the model's outputs by name, in a `def` body.

        Args:
            inputs: Arrays by input name, with one batch axis in front.

        Raises:
            InvalidInput: Names, element types or shapes are not the model's.
        """
        return cast(Tensors, node_here(repr(self)).run_model_blocking(self, inputs))

    async def aio(self, inputs: Tensors) -> Tensors:
        """Return the model's outputs by name, in an `async def` body; see `__call__`."""
        return cast(Tensors, await node_here(repr(self)).run_model(self, inputs))

    def processor(self, folder: ModelFolder) -> "TensorProcessor":
        """Return what checks the arrays."""
        return TensorProcessor(folder)

    def module(self, folder: ModelFolder) -> Any:
        """Return the torch form: the factory's module with the store's weights."""
        from safetensors.torch import load_file

        module = build_module(self.factory, self.name)
        module.load_state_dict(load_file(folder.file(WEIGHTS)))
        return module.eval()

    def __repr__(self) -> str:
        return f"TensorModel({self.name!r})"


def build_module(factory: str, name: str) -> Any:
    """Return what a factory "module:function" makes.

    Raises:
        ModelUnavailable: It is not named or cannot be imported.
    """
    module, colon, function = factory.partition(":")
    if not colon:
        raise ModelUnavailable(
            f"model {name!r} needs a factory for its torch form: TensorModel({name!r}, "
            'factory="module:function")'
        )
    try:
        return getattr(import_module(module), function)()
    except Exception as error:  # whatever the user's factory does
        said = f"{type(error).__name__}: {error}"
        raise ModelUnavailable(f"factory {factory!r} of model {name!r} failed: {said}") from error


class TensorProcessor:
    """Arrays to rows of one shape, and back."""

    def __init__(self, folder: ModelFolder) -> None:
        self._name = folder.name
        self._inputs = folder.inputs
        self._outputs = folder.outputs
        self._length_at = _free_axis(folder.inputs)

    def rows(self, inputs: Tensors) -> Sequence[Row]:
        """Check the arrays and take them apart along the batch axis."""
        wanted = [spec.name for spec in self._inputs]
        if sorted(inputs) != sorted(wanted):
            self._refuse(f"takes {', '.join(wanted)}, not {', '.join(sorted(inputs)) or 'nothing'}")
        for spec in self._inputs:
            array: object = inputs[spec.name]
            if not isinstance(array, np.ndarray):
                self._refuse(f"{spec.name} is a {type(array).__name__}: make it a numpy array")
            if problem := spec.problem(inputs[spec.name]):
                self._refuse(problem)
        counts = {len(array) for array in inputs.values()}
        if len(counts) > 1:
            self._refuse("takes arrays of one length: their first axis is the batch")
        return [{name: inputs[name][row] for name in wanted} for row in range(counts.pop())]

    def key(self, row: Row) -> object:
        """Return the shapes: only rows of equal shapes share a batch."""
        return tuple(row[spec.name].shape for spec in self._inputs)

    def length(self, row: Row) -> int:
        """Return the size of the one axis that is free beside the batch's, or 1."""
        if self._length_at is None:
            return 1
        name, axis = self._length_at
        return max(int(row[name].shape[axis]), 1)

    def lengths(self) -> Sequence[int]:
        """Return sizes of the free axis from small to large, or 1."""
        return (8, 32, 128) if self._length_at else (1,)

    def probe(self, count: int, length: int) -> Sequence[Row]:
        """Return random rows: fractions of unlike scale, and zeros and ones for whole numbers."""
        return [
            {spec.name: _made_up(spec, length, index) for spec in self._inputs}
            for index in range(count)
        ]

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Stack the rows."""
        return {spec.name: np.stack([row[spec.name] for row in rows]) for spec in self._inputs}

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        """Return the rows of the outputs."""
        return [{name: array[row] for name, array in batch.items()} for row in range(count)]

    def result(self, rows: Sequence[Row]) -> Tensors:
        """Return the outputs as arrays; without rows, as empty ones."""
        return {spec.name: self._stacked(spec.name, rows) for spec in self._outputs}

    def _stacked(self, name: str, rows: Sequence[Row]) -> Array:
        if rows:
            return np.stack([row[name] for row in rows])
        spec = next(spec for spec in self._outputs if spec.name == name)
        return np.zeros(
            [0, *(axis if isinstance(axis, int) else 0 for axis in spec.shape[1:])], spec.dtype
        )

    def example(self) -> Tensors:
        """Return one row of zeros."""
        return {
            spec.name: np.zeros(
                [axis if isinstance(axis, int) else 1 for axis in spec.shape], spec.dtype
            )
            for spec in self._inputs
        }

    def _refuse(self, problem: str) -> None:
        raise InvalidInput(f"model {self._name!r}: {problem}", shareable=True)


def _free_axis(inputs: Sequence[TensorSpec]) -> tuple[str, int] | None:
    """Return an input and an axis of its rows that has the one free size, if there is one."""
    free = {
        size: (spec.name, axis)
        for spec in inputs
        for axis, size in enumerate(spec.shape[1:])
        if isinstance(size, str)
    }
    return next(iter(free.values())) if len(free) == 1 else None


def _made_up(spec: TensorSpec, length: int, index: int) -> Array:
    shape = [axis if isinstance(axis, int) else length for axis in spec.shape[1:]]
    dice = np.random.default_rng((index, length))
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "fc":
        # Later rows are larger: what scales a batch by its largest number shows itself.
        return np.asarray(dice.random(shape) * (index + 1) / (index + 2), dtype)
    return dice.integers(0, 2, shape).astype(dtype)
