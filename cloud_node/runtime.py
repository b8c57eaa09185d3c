"""TorchRuntime: runs the torch form of models in full precision."""

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from cloud_node.devices import choose_device, open_device
from orchestrator.core.errors import ModelUnavailable, SettingsError
from orchestrator.core.model import Batch, Compute, Model, ModelFolder, Stop, TensorSpec, Way
from policies.facts import Tier

_NO_MEMORY = "can't allocate memory"
"""What PyTorch's allocator for the CPU writes; the others raise OutOfMemoryError."""


class TorchRuntime:
    """Runs models with PyTorch on the best device present.

    Args:
        device: The device to use, such as "cuda:1"; empty takes the best.
        threads: Threads of one run on the CPU; 0 leaves it to PyTorch.
        graph: Must be empty: the torch form has one graph, in full precision.
    """

    tier: Tier = "cloud"
    package = "torch"
    extra = "cloud"

    def __init__(self, device: str = "", threads: int = 0, graph: str = "") -> None:
        if graph:
            raise SettingsError("the cloud runs full precision: --graph is for edge nodes")
        self._wanted = device
        self._threads = threads
        self._place: Any = None
        self._modules: dict[str, tuple[Any, Sequence[TensorSpec], Sequence[TensorSpec]]] = {}
        self._running = threading.local()
        self.device = ""

    def ways(self, folder: ModelFolder) -> Sequence[Way]:
        """Return the one way: PyTorch's threads share the cores, so runs do not overlap."""
        self._open()
        return [Way(threads=self._threads)]

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Build the model's torch form on the device."""
        self._open()
        try:
            module = model.module(folder).to(self._place).eval()
        except ModelUnavailable:
            raise
        except Exception as error:
            raise ModelUnavailable(
                f"model {folder.name!r}: PyTorch cannot load it: {error}"
            ) from error
        for part in module.modules():
            part.register_forward_pre_hook(self._stop_between_steps)
        self._modules[folder.name] = module, folder.inputs, folder.outputs

    def open(self, name: str, way: Way) -> Compute:
        """Return what runs the model."""
        return partial(self.run, name)

    def use(self, name: str, way: Way) -> None:
        """Do nothing: there is one way."""

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Compute one batch; a stop ends it before the next layer."""
        import torch

        module, inputs, outputs = self._modules[name]
        self._running.stop = stop
        try:
            tensors = [torch.from_numpy(batch[spec.name]).to(self._place) for spec in inputs]
            with torch.inference_mode():
                answer = module(*tensors)
            answers = [answer] if isinstance(answer, torch.Tensor) else list(answer)
            parts = zip(outputs, answers, strict=True)
            return {spec.name: part.cpu().numpy() for spec, part in parts}
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                raise MemoryError(str(error)) from error
            raise

    def unload(self, name: str) -> None:
        """Free the model's memory."""
        self._modules.pop(name, None)
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def health(self) -> str | None:
        """Say what is wrong with the device, or return None."""
        if self._place is None:
            return None
        import torch

        try:
            torch.zeros(1, device=self._place).cpu()
        except RuntimeError as error:
            return f"{self.device} does not compute: {type(error).__name__}"
        return None

    def _open(self) -> None:
        """Choose the device; not in the constructor, since importing torch takes a second."""
        if self._place is not None:
            return
        import torch

        self.device = choose_device(self._wanted)
        self._place = open_device(self.device)
        if self._threads:
            torch.set_num_threads(self._threads)

    def _stop_between_steps(self, module: Any, arguments: Any) -> None:
        stop: Stop | None = getattr(self._running, "stop", None)
        if stop is not None:
            stop.check()
