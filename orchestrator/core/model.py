"""What a node computes with: the protocols Model, Processor and Runtime, and the Stop flag."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import CallError
from policies.facts import Tier

Array = NDArray[Any]
Row = Mapping[str, Array]
"""One item's tensors by input (or output) name, without a batch axis."""

Batch = Mapping[str, Array]
"""Many items' tensors by name, joined along a first batch axis."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: Its name in both forms of the model.
        dtype: numpy's name of its element type.
        shape: Its axes: a number is fixed, a name is free; the first is the batch.
        finite: Whether NaN and infinity are refused in it.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    finite: bool = False

    def problem(self, array: Array) -> str | None:
        """Say what is wrong with an array, batch axis included, or return None."""
        if array.dtype != np.dtype(self.dtype):
            return f"{self.name} is {array.dtype}, the model takes {self.dtype}: use .astype"
        fits = array.ndim == len(self.shape) and all(
            isinstance(axis, str) or axis == size
            for axis, size in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(map(str, self.shape))
            return f"{self.name} has shape {array.shape}, the model takes ({wanted}): use .reshape"
        if self.finite and array.dtype.kind in "fc" and not np.isfinite(array).all():
            return f"{self.name} holds NaN or infinity, which the model refuses: clean it first"
        return None


class ModelFolder(Protocol):
    """A model's files on this machine, checked against their manifest."""

    @property
    def name(self) -> str:
        """The model's name in the store."""

    @property
    def version(self) -> str:
        """A digest of its files."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What goes in."""

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What comes out."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What its kind needs to know besides, such as the longest text."""

    def file(self, relative: str) -> Path:
        """Return the path of one of its files; raise ModelUnavailable if it is not listed."""


class Processor(Protocol):
    """A model's own preparation on one node: from a caller's inputs to rows and back."""

    def rows(self, inputs: Any) -> Sequence[Row]:
        """Turn a caller's inputs into rows; raise InvalidInput if they do not fit."""

    def key(self, row: Row) -> object:
        """Return what two rows must have in common to share a batch."""

    def length(self, row: Row) -> int:
        """Return what a row's cost grows with, such as its tokens; 1 if all cost the same."""

    def lengths(self) -> Sequence[int]:
        """Return the lengths worth trying out before the first call, the shortest first."""

    def probe(self, count: int, length: int) -> Sequence[Row]:
        """Make up rows of a length to try the model with; row i is the same for every count."""

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Join rows of one key into a batch."""

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        """Take a batch of outputs apart, in the order of its rows."""

    def result(self, rows: Sequence[Row]) -> Any:
        """Turn the rows of one caller's answer into what the caller gets."""

    def example(self) -> Any:
        """Return inputs small enough to warm up with."""


@runtime_checkable
class Model(Protocol):
    """A declared model; which form of it runs is the node's business."""

    @property
    def name(self) -> str:
        """Its name in the store of every node."""

    def processor(self, folder: ModelFolder) -> Processor:
        """Return the model's preparation, made from its folder."""

    def module(self, folder: ModelFolder) -> Any:
        """Return the torch form: a module in eval mode that takes the inputs by name."""

    async def aio(self, inputs: Any, /) -> Any:
        """Run this node's form of the model, inside a body."""

    def __call__(self, inputs: Any, /) -> Any:
        """Do the same in a blocking body."""


class Stopped(CallError):
    """A run ended early because the last caller who waited for it had left."""

    code = "CANCELLED"
    public = "The run was stopped."


class Stop:
    """Asks a running batch to end; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether the run should end."""
        return self._requested

    def request(self) -> None:
        """Ask the run to end."""
        with self._lock:
            self._requested = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call back once the run should end, at once if it already should."""
        with self._lock:
            if not self._requested:
                self._callbacks.append(callback)
                return
        callback()

    def check(self) -> None:
        """Raise Stopped if the run should end; for loops that can stop between steps."""
        if self._requested:
            raise Stopped


class Runtime(Protocol):
    """What executes models on a node; `run` is called from worker threads."""

    tier: Tier
    device: str

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Load this tier's form of a model; raise ModelUnavailable if it cannot."""

    def warm(self, name: str, batch: Batch) -> int:
        """Find out how batches like this one run fastest; return how many runs may overlap."""

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch; raise Stopped soon after the stop was requested.

        Raises:
            MemoryError: The batch does not fit into the device's memory; a smaller one may.
        """

    def unload(self, name: str) -> None:
        """Free the model's memory."""

    def health(self) -> str | None:
        """Say what is wrong with the device, or return None."""
