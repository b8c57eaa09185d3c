"""Which device a cloud node computes on."""

from importlib.util import find_spec

from orchestrator.core.errors import SettingsError


def choose_device(wanted: str = "") -> str:
    """Return the torch device to use: cuda, mps, xla or the CPU, the best one present.

    Args:
        wanted: The device the settings name; empty takes the best.

    Raises:
        SettingsError: The wanted device is not present.
    """
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xla": find_spec("torch_xla") is not None,
        "cpu": True,
    }
    if wanted:
        if not present.get(wanted.partition(":")[0], False):
            found = ", ".join(name for name, there in present.items() if there)
            raise SettingsError(f"device {wanted!r} is not present: choose from {found}")
        return wanted
    return next(name for name, there in present.items() if there)


def open_device(name: str) -> "object":
    """Return the torch device of that name."""
    import torch

    if name.partition(":")[0] == "xla":
        import torch_xla

        return torch_xla.device()
    return torch.device(name)
