"""The model store: a folder of model folders, each with a manifest."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.core.errors import ModelUnavailable, UsageError
from orchestrator.core.model import Graph, TensorSpec
from orchestrator.models.manifest import (
    MANIFEST,
    NAME,
    ONNX,
    FileEntry,
    GraphEntry,
    Kind,
    Manifest,
    TensorEntry,
    digest_of,
    tiers_of,
    version_of,
)
from policies.facts import Tier

LEARNED = "learned"
"""A folder beside a model's files: what nodes found out about it on their machines."""

_ROUNDING = 1e-4
"""How far the exported graph may be from itself, fused in another way."""


@dataclass(frozen=True)
class StoredModel:
    """One model's folder and its manifest; a `ModelFolder` for processors and runtimes."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name in the store."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The digest of its files."""
        return self.manifest.version

    @cached_property
    def inputs(self) -> Sequence[TensorSpec]:
        """What goes in."""
        return [entry.spec() for entry in self.manifest.inputs]

    @cached_property
    def outputs(self) -> Sequence[TensorSpec]:
        """What comes out."""
        return [entry.spec() for entry in self.manifest.outputs]

    @property
    def graphs(self) -> Sequence[Graph]:
        """Its graphs for the edge, the exported one first."""
        others = [Graph(made.path, made.precision, made.tolerance) for made in self.manifest.graphs]
        return [Graph(ONNX, "full", _ROUNDING), *others]

    @property
    def options(self) -> Mapping[str, Any]:
        """What its kind needs to know besides."""
        return self.manifest.options

    def file(self, relative: str) -> Path:
        """Return the path of a listed file; raise ModelUnavailable for any other."""
        if any(entry.path == relative for entry in self.manifest.files):
            return self.path / relative
        raise ModelUnavailable(
            f"model {self.name!r} has no file {relative}: add it again with `isthmus models add`",
            shareable=True,
        )

    def verify(self, tier: Tier | None = None, graph: str = "") -> None:
        """Compare files with the manifest.

        Args:
            tier: Whose files; all, for None.
            graph: The one graph that will be read, so that the others need not be; all, for "".

        Raises:
            ModelUnavailable: A file is missing or differs.
        """
        entries = self.manifest.for_tier(tier) if tier else self.manifest.files
        if not entries:
            raise ModelUnavailable(
                f"model {self.name!r} has no form for the {tier}", shareable=True
            )
        unread = {made.path for made in self.graphs if graph and made.path != graph}
        for entry in entries:
            if entry.path in unread:
                continue
            if problem := self._problem(entry):
                raise ModelUnavailable(
                    f"model {self.name!r}: {entry.path} {problem}; add the model again with "
                    "`isthmus models add`",
                    shareable=True,
                )

    def _problem(self, entry: FileEntry) -> str | None:
        path = self.path / entry.path
        if not path.is_file():
            return "is missing"
        # A link could be changed after the check, from a place the store does not own.
        own = path.resolve() == self.path.resolve() / entry.path
        if not own or path.stat().st_nlink != 1:
            return "is a link, not a file of its own"
        if path.stat().st_size != entry.size or digest_of(path) != entry.sha256:
            return "differs from the manifest"
        return None


class ModelStore:
    """A folder of model folders.

    Args:
        path: The folder; it is made when the first model is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of the models in the store."""
        return sorted(found.parent.name for found in self.path.glob(f"*/{MANIFEST}"))

    def open(self, name: str) -> StoredModel:
        """Return a model of the store; its files are not checked yet.

        Raises:
            UsageError: It is no name.
            ModelUnavailable: There is none of that name, or its manifest cannot be read.
        """
        _check_name(name)
        folder = self.path / name
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except OSError:
            command, store = f"isthmus models add {name}", f"--models {self.path}"
            raise ModelUnavailable(
                f"model {name!r} is not in {self.path}: `{command} --from <folder> {store}` puts a "
                f"text embedding there, `{command} --factory module:function "
                f"--input 'name:dtype[axes]' {store}` a module of your own"
            ) from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ModelUnavailable(
                f"the manifest of model {name!r} is not one of this version: {where}: "
                f"{first['msg']}; add the model again with `isthmus models add`"
            ) from None
        if manifest.name != name:
            raise ModelUnavailable(
                f"{folder} holds model {manifest.name!r}: rename it back, or add it again"
            )
        return StoredModel(folder, manifest)

    @contextmanager
    def adding(self, name: str, *, replace: bool = False) -> Iterator[Path]:
        """Give an empty folder to fill; it becomes the model's when the block ends well.

        Raises:
            UsageError: The name cannot be a folder's, or the store has a model of that name and
                may not replace it.
        """
        _check_name(name)
        target = self.path / name
        self._check_free(target, replace)
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path, prefix=".adding-") as folder:
            fresh = Path(folder) / name
            fresh.mkdir()
            yield fresh
            self._check_free(target, replace)  # somebody else may have added it meanwhile
            if target.exists():
                target.rename(Path(folder) / f"{name}-before")
            fresh.rename(target)

    def _check_free(self, target: Path, replace: bool) -> None:
        if target.exists() and not replace:
            raise UsageError(f"model {target.name!r} is in {self.path} already: use --replace")


def _check_name(name: str) -> None:
    if not re.match(NAME, name):
        raise UsageError(
            f"{name!r} cannot be a model's name: use letters, digits, '.', '_' and '-', and begin "
            "with a letter or a digit"
        )


def write_manifest(
    folder: Path,
    kind: Kind,
    inputs: Sequence[TensorEntry],
    outputs: Sequence[TensorEntry],
    options: dict[str, Any],
    graphs: Sequence[GraphEntry] = (),
) -> Manifest:
    """Write the manifest of a filled folder and return it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    files = tuple(
        FileEntry(path=name, sha256=digest_of(path), size=path.stat().st_size, tiers=tiers_of(name))
        for name, path in zip(names, paths, strict=True)
    )
    manifest = Manifest(
        name=folder.name,
        version=version_of(files, options),
        kind=kind,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        files=files,
        graphs=tuple(graphs),
        options=options,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
    return manifest
