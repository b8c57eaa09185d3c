"""What a node has found out about a model on its machine, kept for its next start."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from orchestrator.core.model import Way

_log = logging.getLogger("isthmus.node")

_SOFTWARE = ("isthmus", "onnxruntime", "onnxruntime-gpu", "torch", "numpy")
_PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "flags", "Features")


class Learned(BaseModel):
    """Which way a model runs best, whether callers may share its runs, and what runs cost.

    Attributes:
        way: The way, in words.
        batched: Whether callers may share its runs.
        costs: Rows, the length that they are padded to, and the seconds that a run takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    way: str
    batched: bool
    costs: tuple[tuple[PositiveInt, PositiveInt, PositiveFloat], ...] = Field(max_length=1000)


class Notebook:
    """Keeps what was learned in one file for each machine, software, model and settings.

    The file lies beside the model's own, where whoever may write can change the model itself; it
    is believed as the manifest is. Where nobody may write, a node learns anew at each start.

    Args:
        folder: Where the files are.
        facts: What the findings hold for, beside machine and software.
    """

    def __init__(self, folder: Path, facts: Iterable[object]) -> None:
        text = "\n".join([*map(repr, facts), *_software(), *_machine()])
        self._path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"

    def read(self) -> Learned | None:
        """Return what was learned before, or None."""
        try:
            return Learned.model_validate_json(self._path.read_bytes())
        except OSError:
            return None
        except ValidationError:
            _log.warning("%s cannot be read: its model is tried out anew", self._path)
            return None

    def write(self, learned: Learned) -> None:
        """Keep what was learned, where that is possible."""
        try:
            self._path.parent.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".writing-")
            try:
                with open(handle, "w") as file:
                    file.write(learned.model_dump_json())
                os.replace(name, self._path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            _log.debug("%s cannot be written: %s", self._path, error.strerror)


def chosen(learned: Learned, ways: Sequence[Way]) -> Way | None:
    """Return the way that was learned to be best, if it is still on offer."""
    return next((way for way in ways if str(way) == learned.way), None)


def _software() -> list[str]:
    found = []
    for name in _SOFTWARE:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def _machine() -> list[str]:
    """Return what tells one kind of processor from another."""
    known = [os.uname().machine if hasattr(os, "uname") else os.name]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
        known += [line for line in first if line.split("\t")[0].strip() in _PROCESSOR]
    return known
