"""The manifest of a model folder: its files with their digests, its tensors, its version."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.core.model import TensorSpec
from policies.facts import Tier

MANIFEST = "manifest.json"
ONNX = "onnx/model.onnx"
INT8 = "onnx/model.int8.onnx"
TORCH = "torch"

NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What a model may be called: it is the name of a folder, too."""

Kind = Literal["text-embedding", "tensor"]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError("a file must lie inside the model's folder")
    return path


class FileEntry(BaseModel):
    """One file of a model: which tiers need it, and what it must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(_inside)]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    tiers: tuple[Tier, ...]


class TensorEntry(BaseModel):
    """One input or output of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    finite: bool = False

    @classmethod
    def of(cls, spec: TensorSpec) -> "TensorEntry":
        """Return an entry for the library's own word."""
        return cls(name=spec.name, dtype=spec.dtype, shape=spec.shape, finite=spec.finite)

    def spec(self) -> TensorSpec:
        """Return the same as the library's own word."""
        return TensorSpec(self.name, self.dtype, self.shape, self.finite)


class GraphEntry(BaseModel):
    """A graph made from the exported one, and how far its answers may be from that one's.

    Both numbers are parts of the Euclidean norm of a row's answer: what was found when it was
    made, and the most that whoever made it allows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(_inside)]
    precision: Literal["int8"]
    error: float = Field(ge=0)
    tolerance: float = Field(gt=0, lt=1)


class Manifest(BaseModel):
    """What a model folder holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str = Field(pattern=NAME)
    version: str
    kind: Kind
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    files: tuple[FileEntry, ...]
    graphs: tuple[GraphEntry, ...] = ()
    options: dict[str, Any] = {}

    def for_tier(self, tier: Tier) -> list[FileEntry]:
        """Return the files that a tier needs."""
        return [entry for entry in self.files if tier in entry.tiers]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_of(files: Iterable[FileEntry], options: dict[str, Any]) -> str:
    """Return the digest of a model's files and options: equal models have equal versions."""
    lines = sorted(f"{entry.path} {entry.sha256}" for entry in files)
    text = "\n".join([*lines, repr(sorted(options.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def tiers_of(path: str) -> tuple[Tier, ...]:
    """Return the tiers that need a file, by where it lies in the folder."""
    if path in (ONNX, INT8):
        return ("edge",)
    if path.startswith(f"{TORCH}/"):
        return ("cloud",)
    return ("edge", "cloud")
