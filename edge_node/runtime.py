"""OnnxRuntime: runs the ONNX form of models."""

from typing import Any

from edge_node.providers import choose_providers, refuse_both_builds
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Model, ModelFolder, Stop
from orchestrator.models.manifest import ONNX
from policies.facts import Tier


class OnnxRuntime:
    """Runs models with ONNX Runtime on the best execution provider present.

    Args:
        device: The execution provider to use; empty takes the best.
        threads: Threads of one run; 0 leaves it to ONNX Runtime.
    """

    tier: Tier = "edge"
    package = "onnxruntime"
    extra = "edge"

    def __init__(self, device: str = "", threads: int = 0) -> None:
        self._wanted = device
        self._threads = threads
        self._sessions: dict[str, Any] = {}
        self.device = ""

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Open a session over the model's ONNX form."""
        import onnxruntime

        refuse_both_builds()
        providers = choose_providers(onnxruntime.get_available_providers(), self._wanted)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Threads that spin between runs steal the cores from everything else on a small box.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        path = folder.file(ONNX)
        try:
            session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:
            raise ModelUnavailable(
                f"model {folder.name!r}: ONNX Runtime cannot load it: {error}"
            ) from error
        self._sessions[folder.name] = session
        self.device = session.get_providers()[0].removesuffix("ExecutionProvider").lower()

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch; a stop ends it inside the graph, between two operators."""
        import onnxruntime

        session = self._sessions[name]
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        stop.on_request(lambda: setattr(options, "terminate", True))
        outputs = [output.name for output in session.get_outputs()]
        try:
            # `batch` is referred to until the run has ended: ONNX Runtime reads its memory.
            answers = session.run(outputs, dict(batch), options)
        except Exception:
            stop.check()
            raise
        return dict(zip(outputs, answers, strict=True))

    def unload(self, name: str) -> None:
        """Free the model's session."""
        self._sessions.pop(name, None)

    def health(self) -> str | None:
        """Return None: ONNX Runtime reports no health of its own."""
        return None
