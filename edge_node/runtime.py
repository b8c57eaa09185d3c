"""OnnxRuntime: runs the ONNX form of models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_node.graphs import UNFUSED, check_choice, layouts, ways_of
from edge_node.parallel import usable_cores
from edge_node.providers import CPU, choose_providers, refuse_both_builds
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Compute, Model, ModelFolder, Stop, Way
from policies.facts import Tier

_NO_MEMORY = ("Failed to allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED")
"""What ONNX Runtime and its providers write when memory ends; they have no class for it."""


@dataclass(frozen=True, slots=True)
class _Session:
    """A session over a graph; several threads may run it at once."""

    session: Any
    outputs: list[str]

    def run(self, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch; a stop ends it inside the graph, between two operators."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        stop.on_request(lambda: setattr(options, "terminate", True))
        try:
            # `batch` is referred to until the run has ended: ONNX Runtime reads its memory.
            answers = self.session.run(self.outputs, dict(batch), options)
        except Exception as error:
            stop.check()
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError(str(error)) from error
            raise
        return dict(zip(self.outputs, answers, strict=True))


@dataclass(slots=True)
class _Loaded:
    """A model: its files, its open sessions, and which of them is in use."""

    folder: ModelFolder
    used: Way
    open: dict[Way, _Session] = field(default_factory=dict)


class OnnxRuntime:
    """Runs models with ONNX Runtime on the best execution provider present.

    Args:
        device: The execution provider to use; empty takes the best.
        threads: Threads of one run; with 0 each model gets what is faster for it on the CPU: one
            run at a time with a thread for each core, or a run of one thread on each.
        graph: The precision, or the one graph, that is allowed; empty allows all that a model's
            manifest offers.
        cores: How many cores it may use; 0 for all that the process may.
    """

    tier: Tier = "edge"
    package = "onnxruntime"
    extra = "edge"

    def __init__(
        self, device: str = "", threads: int = 0, graph: str = "", *, cores: int = 0
    ) -> None:
        check_choice(graph)
        self._wanted = device
        self._graph = graph
        self._threads = threads
        self._cores = cores or usable_cores()
        self._layouts = layouts(threads, self._cores)
        self._models: dict[str, _Loaded] = {}
        self.device = ""

    def ways(self, folder: ModelFolder) -> Sequence[Way]:
        """Return the model's graphs by how their runs may use the cores."""
        provider = self._providers()[0]
        self._note(provider)
        if provider == CPU:
            return ways_of(folder.name, folder.graphs, self._layouts, self._graph)
        # On an accelerator its provider rules what is fused, and threads are for the rest.
        whole = [(1, self._threads or self._cores)]
        return ways_of(folder.name, folder.graphs, whole, self._graph)[:1]

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Take a model; its graphs are read when they are opened."""
        first = self.ways(folder)[0]
        folder.file(first.file)
        self._models[folder.name] = _Loaded(folder, first)

    def open(self, name: str, way: Way) -> Compute:
        """Open a session over one of the model's graphs; return what runs it."""
        loaded = self._models[name]
        if way not in loaded.open:
            loaded.open[way] = self._open(name, loaded.folder.file(way.file), way)
        return loaded.open[way].run

    def use(self, name: str, way: Way) -> None:
        """Run the model so from now on; all other sessions are dropped."""
        loaded = self._models[name]
        self.open(name, way)
        loaded.used, loaded.open = way, {way: loaded.open[way]}

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch with the session in use."""
        return self.open(name, self._models[name].used)(batch, stop)

    def unload(self, name: str) -> None:
        """Free the model's sessions."""
        self._models.pop(name, None)

    def health(self) -> str | None:
        """Return None: ONNX Runtime reports no health of its own."""
        return None

    def _providers(self) -> list[str]:
        import onnxruntime

        refuse_both_builds()
        return choose_providers(onnxruntime.get_available_providers(), self._wanted)

    def _note(self, provider: str) -> None:
        self.device = provider.removesuffix("ExecutionProvider").lower()

    def _open(self, name: str, path: Path, way: Way) -> _Session:
        import onnxruntime

        providers = self._providers()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = way.threads
        if way.graph.endswith(UNFUSED):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # Threads that spin between runs steal the cores from everything else on a small box.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:
            raise ModelUnavailable(
                f"model {name!r}: ONNX Runtime cannot load it: {error}"
            ) from error
        self._note(session.get_providers()[0])
        return _Session(session, [output.name for output in session.get_outputs()])
