"""OnnxRuntime: runs the ONNX form of models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_node.parallel import side_by_side_is_faster, usable_cores
from edge_node.providers import choose_providers, refuse_both_builds
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Model, ModelFolder, Stop
from orchestrator.models.manifest import ONNX
from policies.facts import Tier

_NO_MEMORY = ("Failed to allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED")
"""What ONNX Runtime and its providers write when memory ends; they have no class for it."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A session over a graph; several threads may run it at once."""

    path: Path
    session: Any
    outputs: list[str]

    def run(self, batch: Batch, options: Any = None) -> Batch:
        # `batch` is referred to until the run has ended: ONNX Runtime reads its memory.
        answers = self.session.run(self.outputs, dict(batch), options)
        return dict(zip(self.outputs, answers, strict=True))


class OnnxRuntime:
    """Runs models with ONNX Runtime on the best execution provider present.

    Args:
        device: The execution provider to use; empty takes the best.
        threads: Threads of one run; with 0 each model gets what is faster for it on the CPU: one
            run at a time with a thread for each core, or a run of one thread on each.
        cores: How many cores it may use; 0 for all that the process may.
    """

    tier: Tier = "edge"
    package = "onnxruntime"
    extra = "edge"

    def __init__(self, device: str = "", threads: int = 0, cores: int = 0) -> None:
        self._wanted = device
        self._threads = threads
        self._cores = cores or usable_cores()
        self._opened: dict[str, _Opened] = {}
        self.device = ""

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Open a session over the model's ONNX form."""
        opened = self._open(folder.name, folder.file(ONNX), self._threads or self._cores)
        self._opened[folder.name] = opened
        provider = opened.session.get_providers()[0]
        self.device = provider.removesuffix("ExecutionProvider").lower()

    def warm(self, name: str, batch: Batch) -> int:
        """Choose between one wide run at a time and a narrow one on each core, on the CPU.

        The narrow runs share one session, and the session that loses is dropped: the weights
        are in memory once.
        """
        wide = self._opened[name]
        if self.device != "cpu":
            return 1
        if self._threads or self._cores == 1:
            return max(self._cores // (self._threads or 1), 1)
        narrow = self._open(name, wide.path, 1)
        if not side_by_side_is_faster(
            lambda: narrow.run(batch), lambda: wide.run(batch), self._cores
        ):
            return 1
        self._opened[name] = narrow
        return self._cores

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch; a stop ends it inside the graph, between two operators."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        stop.on_request(lambda: setattr(options, "terminate", True))
        try:
            return self._opened[name].run(batch, options)
        except Exception as error:
            stop.check()
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError(str(error)) from error
            raise

    def unload(self, name: str) -> None:
        """Free the model's session."""
        self._opened.pop(name, None)

    def health(self) -> str | None:
        """Return None: ONNX Runtime reports no health of its own."""
        return None

    def _open(self, name: str, path: Path, threads: int) -> _Opened:
        import onnxruntime

        refuse_both_builds()
        providers = choose_providers(onnxruntime.get_available_providers(), self._wanted)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin between runs steal the cores from everything else on a small box.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:
            raise ModelUnavailable(
                f"model {name!r}: ONNX Runtime cannot load it: {error}"
            ) from error
        return _Opened(path, session, [output.name for output in session.get_outputs()])
