"""The models loaded on a node: each with its preparation and its batcher."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Model, Processor, Runtime
from orchestrator.core.report import ModelReport
from orchestrator.core.running import Meter
from orchestrator.models.store import ModelStore
from orchestrator.serving.batcher import Batcher
from orchestrator.serving.threads import in_daemon_thread

_log = logging.getLogger("isthmus.node")

_FEW_ITEMS = 16
_FEW_ROWS = 1024


@dataclass(frozen=True, slots=True)
class _Loaded:
    processor: Processor
    batcher: Batcher
    report: ModelReport


class ModelPool:
    """Loads, warms and runs models.

    Args:
        store: Where the models are.
        runtime: What executes them.
        max_batch_size: The most rows in one run.
        clock: Tells how long rows waited.
    """

    def __init__(
        self,
        store: ModelStore,
        runtime: Runtime,
        max_batch_size: int = 8,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._max_batch_size = max_batch_size
        self._clock = clock
        self._loaded: dict[str, _Loaded] = {}

    @property
    def reports(self) -> tuple[ModelReport, ...]:
        """What is loaded."""
        return tuple(loaded.report for loaded in self._loaded.values())

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
        processor, report = await in_daemon_thread(self._open, model)
        batcher = Batcher(
            model.name,
            partial(self._runtime.run, model.name),
            processor,
            self._max_batch_size,
            self._clock,
        )
        loaded = _Loaded(processor, batcher, report)
        try:
            await self._run(loaded, processor.example(), Meter())
        except Exception as error:
            await self._unload(loaded)
            raise ModelUnavailable(
                f"model {model.name!r} failed on its own example: {type(error).__name__}: {error}"
            ) from error
        self._loaded[model.name] = loaded
        _log.info("model %s %s is warm on %s", report.name, report.version, report.device)

    async def run(self, model: Model, inputs: Any, meter: Meter) -> Any:
        """Run a model on one caller's inputs.

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
        return await self._run(loaded, inputs, meter)

    async def _run(self, loaded: _Loaded, inputs: Any, meter: Meter) -> Any:
        if _is_large(inputs):
            rows = await in_daemon_thread(loaded.processor.rows, inputs)
        else:
            rows = loaded.processor.rows(inputs)
        return loaded.processor.result(await loaded.batcher.submit(rows, meter))

    async def aclose(self) -> None:
        """Unload everything."""
        for loaded in self._loaded.values():
            await self._unload(loaded)
        self._loaded.clear()

    async def _unload(self, loaded: _Loaded) -> None:
        await loaded.batcher.aclose()
        self._runtime.unload(loaded.report.name)

    def _open(self, model: Model) -> tuple[Processor, ModelReport]:
        stored = self._store.open(model.name)
        stored.verify(self._runtime.tier)
        self._runtime.load(model, stored)
        report = ModelReport(stored.name, stored.version, self._runtime.device)
        return model.processor(stored), report


def _is_large(inputs: Any) -> bool:
    """Say whether preparing inputs would keep the loop from turning for long."""
    if isinstance(inputs, Mapping):
        return any(np.shape(array)[:1] > (_FEW_ROWS,) for array in inputs.values())
    return len(inputs) > _FEW_ITEMS
