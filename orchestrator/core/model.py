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


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph of a model: the one it was exported as, or one made from that.

    Attributes:
        path: Its file in the model's folder.
        precision: "full" as it was exported, or what it was quantised to.
        tolerance: The most by which a row's answer may differ from the exported graph's, as a
            part of its Euclidean norm.
    """

    path: str
    precision: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a runtime can run a model.

    Attributes:
        graph: What computes it, such as "int8-unfused"; empty if the runtime has no choice.
        runs: How many runs may overlap.
        threads: Threads of each run; 0 leaves it to the runtime.
        tolerance: The most by which a row's answer may differ from the first way's, as a part
            of its Euclidean norm.
        file: Which of the model's graphs it reads.
    """

    graph: str = ""
    runs: int = 1
    threads: int = 0
    tolerance: float = 0.0
    file: str = ""

    def __str__(self) -> str:
        many = [(self.runs, "run"), (self.threads, "thread")]
        counts = [f"{count} {word}{'s' * (count > 1)}" for count, word in many if count]
        layout = " x ".join(counts)
        return f"{self.graph}, {layout}" if self.graph else layout


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
    def graphs(self) -> Sequence[Graph]:
        """Its graphs for the edge, the exported one first."""

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


Compute = Callable[[Batch, Stop], Batch]
"""Computes one batch."""


class Runtime(Protocol):
    """What executes models on a node; `run` is called from worker threads."""

    tier: Tier
    device: str

    def ways(self, folder: ModelFolder) -> Sequence[Way]:
        """Return the ways to run a model, the first is the reference; no file is read yet.

        Raises:
            ModelUnavailable: The model has no graph that the settings allow.
        """

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Load this tier's form of a model; raise ModelUnavailable if it cannot."""

    def open(self, name: str, way: Way) -> Compute:
        """Open a model in one of its ways, beside those that are open; return what computes it.

        Raises:
            ModelUnavailable: It cannot be opened.
        """

    def use(self, name: str, way: Way) -> None:
        """Run a model in this way from now on, and close it in all others."""

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch in the way in use; raise Stopped soon after the stop was requested.

        Raises:
            MemoryError: The batch does not fit into the device's memory; a smaller one may.
        """

    def unload(self, name: str) -> None:
        """Free the model's memory."""

    def health(self) -> str | None:
        """Say what is wrong with the device, or return None."""
