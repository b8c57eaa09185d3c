"""The models loaded on a node: each with its preparation and its batcher."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Model, ModelFolder, Processor, Runtime, Stop
from orchestrator.core.report import ModelReport
from orchestrator.core.running import Meter
from orchestrator.models.store import ModelStore
from orchestrator.serving.batching.batcher import Batcher, BatchOptions
from orchestrator.serving.batching.costs import CostTable
from orchestrator.serving.batching.forward import Forward
from orchestrator.serving.batching.probes import mates_matter, measure_costs, typical_rows
from orchestrator.serving.threads import in_daemon_thread

_log = logging.getLogger("isthmus.node")

_FEW_ITEMS = 16
_FEW_ROWS = 1024


_PROBE_SECONDS = 0.5
"""How long the costs of a model's runs are measured before its first call."""


@dataclass(frozen=True, slots=True)
class _Warm:
    """What a model was found to be like before its first call."""

    forward: Forward
    report: ModelReport
    costs: CostTable | None
    parallel: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    processor: Processor
    batcher: Batcher
    report: ModelReport
    parallel: int


class ModelPool:
    """Loads, warms and runs models.

    Args:
        store: Where the models are.
        runtime: What executes them.
        options: How rows are put together.
        clock: Tells how long rows waited.
    """

    def __init__(
        self,
        store: ModelStore,
        runtime: Runtime,
        options: BatchOptions | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._options = options or BatchOptions()
        self._clock = clock
        self._loaded: dict[str, _Loaded] = {}

    @property
    def reports(self) -> tuple[ModelReport, ...]:
        """What is loaded."""
        return tuple(loaded.report for loaded in self._loaded.values())

    @property
    def parallelism(self) -> int:
        """How many runs of any one model may overlap; 1 before the first is loaded."""
        return min((loaded.parallel for loaded in self._loaded.values()), default=1)

    @property
    def batchers(self) -> dict[str, Batcher]:
        """The batcher of each model."""
        return {name: loaded.batcher for name, loaded in self._loaded.items()}

    async def load(self, model: Model) -> None:
        """Check, load and warm a model, unless it is loaded; one at a time.

        Raises:
            ModelUnavailable: It is not in the store, is damaged, or cannot be loaded.
        """
        if model.name in self._loaded:
            return
        warm = await in_daemon_thread(self._open, model)
        options = self._options if warm.report.batched else replace(self._options, max_batch_size=1)
        batcher = Batcher(warm.forward, options, warm.costs, warm.parallel, self._clock)
        loaded = _Loaded(warm.forward.processor, batcher, warm.report, warm.parallel)
        self._loaded[model.name] = loaded
        _log.info(
            "model %s %s is warm on %s: %s, up to %d runs side by side",
            warm.report.name,
            warm.report.version,
            warm.report.device,
            "batched" if warm.report.batched else "a row in each run",
            warm.parallel,
        )

    async def run(
        self, model: Model, inputs: Any, meter: Meter, deadline: Deadline | None = None
    ) -> Any:
        """Run a model on one caller's inputs.

        Args:
            model: The model.
            inputs: One caller's inputs.
            meter: Is told how long they waited, and for whom.
            deadline: When the answer is due.

        Raises:
            InvalidInput: The inputs are not the model's.
            ModelUnavailable: It is not loaded here.
        """
        loaded = self._loaded.get(model.name)
        if loaded is None:
            raise ModelUnavailable(
                f"model {model.name!r} is not loaded on this node: name it in the service's "
                "decorator, models=[...]",
                shareable=True,
            )
        if _is_large(inputs):
            rows = await in_daemon_thread(loaded.processor.rows, inputs)
        else:
            rows = loaded.processor.rows(inputs)
        return loaded.processor.result(await loaded.batcher.submit(rows, meter, deadline))

    async def aclose(self) -> None:
        """Unload everything."""
        for loaded in self._loaded.values():
            await self._unload(loaded)
        self._loaded.clear()

    async def _unload(self, loaded: _Loaded) -> None:
        await loaded.batcher.aclose()
        self._runtime.unload(loaded.report.name)

    def _open(self, model: Model) -> _Warm:
        """Load a model, see that it works, and try out how it works best."""
        stored = self._store.open(model.name)
        stored.verify(self._runtime.tier)
        processor = model.processor(stored)
        self._runtime.load(model, stored)
        try:
            return self._warm(processor, stored)
        except Exception as error:
            self._runtime.unload(model.name)
            raise ModelUnavailable(
                f"model {model.name!r} failed on its own example: {type(error).__name__}: {error}"
            ) from error

    def _warm(self, processor: Processor, folder: ModelFolder) -> _Warm:
        forward = Forward(folder.name, partial(self._runtime.run, folder.name), processor)
        processor.result(forward(processor.rows(processor.example()), Stop()))
        parallel = self._parallel(forward)
        most = self._options.max_batch_size
        batched = most > 1 and not mates_matter(forward)
        costs = measure_costs(forward, most, _PROBE_SECONDS, self._clock) if batched else None
        report = ModelReport(folder.name, folder.version, self._runtime.device, batched)
        return _Warm(forward, report, costs, parallel)

    def _parallel(self, forward: Forward) -> int:
        try:
            return self._runtime.warm(
                forward.name, forward.processor.collate(typical_rows(forward))
            )
        except Exception:  # it does not take made-up rows: nothing can be tried out
            _log.warning("model %s cannot be tried out, its runs do not overlap", forward.name)
            return 1


def _is_large(inputs: Any) -> bool:
    """Say whether preparing inputs would keep the loop from turning for long."""
    if isinstance(inputs, Mapping):
        return any(np.shape(array)[:1] > (_FEW_ROWS,) for array in inputs.values())
    return len(inputs) > _FEW_ITEMS
