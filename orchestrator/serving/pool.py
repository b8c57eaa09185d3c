"""The models loaded on a node: each with its preparation and its batcher."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Model, Processor, Runtime, Stop, Way
from orchestrator.core.report import ModelReport
from orchestrator.core.running import Meter
from orchestrator.models.store import LEARNED, ModelStore
from orchestrator.serving.batching.batcher import Batcher, BatchOptions
from orchestrator.serving.batching.costs import CostTable, Size
from orchestrator.serving.batching.forward import Forward
from orchestrator.serving.batching.probes import measure_costs
from orchestrator.serving.batching.trial import Found, Trial
from orchestrator.serving.learned import Learned, Notebook, chosen
from orchestrator.serving.threads import DaemonThreads, in_daemon_thread

_log = logging.getLogger("isthmus.node")

_FEW_ITEMS = 16
_FEW_ROWS = 1024


_PROBE_SECONDS = 0.5
"""How long the costs of a model's runs are measured at its first start on a machine."""


@dataclass(frozen=True, slots=True)
class _Warm:
    """What a model was found to be like before its first call."""

    found: Found
    report: ModelReport
    costs: CostTable | None


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
        forward, runs = warm.found.forward, warm.found.way.runs
        batcher = Batcher(forward, options, warm.costs, runs, self._clock)
        loaded = _Loaded(forward.processor, batcher, warm.report, runs)
        self._loaded[model.name] = loaded
        _log.info(
            "model %s %s is warm on %s: %s, %s",
            warm.report.name,
            warm.report.version,
            warm.report.device,
            warm.report.graph,
            "batched" if warm.report.batched else "a row in each run",
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
        """Load a model, see that it works, and find out how it works best.

        An earlier start may have found it out: then nothing else is read and tried.
        """
        stored = self._store.open(model.name)
        ways = self._runtime.ways(stored)
        facts = (stored.version, self._runtime.device, ways, asdict(self._options))
        notebook = Notebook(stored.path / LEARNED, facts)
        learned = notebook.read()
        way = chosen(learned, ways) if learned else None
        stored.verify(self._runtime.tier, way.file if way else "")
        self._runtime.load(model, stored)
        try:
            preparing = DaemonThreads("isthmus-load").submit(model.processor, stored)
            compute = self._runtime.open(model.name, way or ways[0])
            forward = Forward(model.name, compute, processor := preparing.result())
            processor.result(forward(processor.rows(processor.example()), Stop()))
            if learned and way:
                found = Found(way, forward, learned.batched)
                costs = {(rows, length): seconds for rows, length, seconds in learned.costs}
            else:
                found, costs = self._try_out(model.name, processor, ways)
                notebook.write(_noted(found, costs))
            self._runtime.use(model.name, found.way)
        except ModelUnavailable:
            self._runtime.unload(model.name)
            raise
        except Exception as error:
            self._runtime.unload(model.name)
            raise ModelUnavailable(
                f"model {model.name!r} failed on its own example: {type(error).__name__}: {error}"
            ) from error
        told = str(found.way)
        report = ModelReport(model.name, stored.version, self._runtime.device, found.batched, told)
        return _Warm(found, report, CostTable(costs) if costs else None)

    def _try_out(
        self, name: str, processor: Processor, ways: Sequence[Way]
    ) -> tuple[Found, dict[Size, float]]:
        """Return the best way to run a model, and what its runs cost if callers share them."""
        most = self._options.max_batch_size
        found = Trial(self._runtime, name, processor, most).best(ways)
        if not found.batched:
            return found, {}
        return found, measure_costs(found.forward, most, _PROBE_SECONDS, self._clock)


def _noted(found: Found, costs: Mapping[Size, float]) -> Learned:
    rows = tuple((rows, length, seconds) for (rows, length), seconds in costs.items())
    return Learned(way=str(found.way), batched=found.batched, costs=rows)


def _is_large(inputs: Any) -> bool:
    """Say whether preparing inputs would keep the loop from turning for long."""
    if isinstance(inputs, Mapping):
        return any(np.shape(array)[:1] > (_FEW_ROWS,) for array in inputs.values())
    return len(inputs) > _FEW_ITEMS
