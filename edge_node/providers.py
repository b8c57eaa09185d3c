"""Which ONNX Runtime execution provider an edge node uses."""

from importlib.metadata import PackageNotFoundError, version

from orchestrator.core.errors import SettingsError

CPU = "CPUExecutionProvider"

PREFERENCE = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    "OpenVINOExecutionProvider",
    CPU,
)
"""Best first. TensorRT is left out: it builds an engine for minutes at every new shape."""


def choose_providers(available: list[str], wanted: str = "") -> list[str]:
    """Return the providers to open a session with: the best one present, then the CPU.

    Args:
        available: What the installed ONNX Runtime offers.
        wanted: The provider the settings name; empty takes the best.

    Raises:
        SettingsError: The wanted provider is not present.
    """
    if wanted and wanted not in available:
        raise SettingsError(f"provider {wanted} is not present: choose from {', '.join(available)}")
    best = wanted or next((name for name in PREFERENCE if name in available), available[0])
    return [best] if best == CPU else [best, CPU]


def refuse_both_builds() -> None:
    """Raise SettingsError if the CPU and the GPU build are installed: one hides the other."""
    builds = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(builds) > 1:
        raise SettingsError(
            "onnxruntime and onnxruntime-gpu overwrite each other's files: uninstall both, then "
            "install one of isthmus[edge] and isthmus[edge-gpu]"
        )


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
