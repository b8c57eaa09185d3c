"""`isthmus models`: add a model to the store, list what is there, verify its files."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from orchestrator.core.errors import ModelUnavailable, UsageError
from orchestrator.core.model import TensorSpec
from orchestrator.models.manifest import Manifest
from orchestrator.models.store import ModelStore
from orchestrator.wire.tensors import DTYPES

_AXIS = r" *(?:[1-9]\d*|[A-Za-z_]\w*) *"
_INPUT = re.compile(
    rf"(?P<name>[^:\[\]]+):(?P<dtype>\w+)\[(?P<axes>{_AXIS}(?:,{_AXIS})*)\](?P<finite>!?)"
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of a store.

    Attributes:
        name: Its name.
        version: The digest of its files.
        kind: What it is.
        tiers: The tiers it has a form for.
        mib: The size of its files.
        problem: What is wrong with its files; empty if nothing is, or they were not read.
        graphs: The graphs beside the exported one, each with how far its answers were from that
            one's.
    """

    name: str
    version: str
    kind: str
    tiers: tuple[str, ...]
    mib: float
    problem: str = ""
    graphs: tuple[str, ...] = ()


def parse_input(text: str) -> TensorSpec:
    """Return a tensor as it stands on the command line.

    Args:
        text: "name:dtype[axis,axis]"; a number is a fixed axis, a name a free one, the first is
            the batch; a "!" at the end refuses NaN and infinity.

    Raises:
        UsageError: It is written in another way.
    """
    parts = _INPUT.fullmatch(text)
    if parts is None or parts["dtype"] not in DTYPES:
        raise UsageError(f'{text!r} is no input: write "x:float32[batch,8]"')
    axes = (axis.strip() for axis in parts["axes"].split(","))
    shape = tuple(int(axis) if axis.isdigit() else axis for axis in axes)
    return TensorSpec(parts["name"], parts["dtype"], shape, finite=bool(parts["finite"]))


def rows_of(store: ModelStore, *, verify: bool) -> list[ModelRow]:
    """Return the models of a store, with their files verified on demand.

    Raises:
        UsageError: There is no store.
    """
    if not store.path.is_dir():
        raise UsageError(
            f"there is no model store {store.path}: name it with --models, or make it with "
            "`isthmus models add`"
        )
    return [_row(store, name, verify) for name in store.names()]


def row_of(manifest: Manifest, problem: str = "") -> ModelRow:
    """Return what a manifest says, for people and programs."""
    tiers = tuple(sorted({tier for entry in manifest.files for tier in entry.tiers}))
    mib = sum(entry.size for entry in manifest.files) / 2**20
    graphs = tuple(f"{made.precision} (differs by {made.error:.3f})" for made in manifest.graphs)
    name, version, kind = manifest.name, manifest.version, manifest.kind
    return ModelRow(name, version, kind, tiers, round(mib, 1), problem, graphs)


def as_table(rows: list[ModelRow], store: Path) -> Table:
    """Return the rows as a table for people."""
    table = Table(
        "name", "version", "kind", "forms for", "MiB", "graphs", "problem", title=str(store)
    )
    for row in rows:
        tiers, graphs = ", ".join(row.tiers), ", ".join(row.graphs)
        cells = (row.name, row.version, row.kind, tiers, f"{row.mib:.1f}", graphs)
        table.add_row(*map(Text, cells), Text(row.problem, "red"))
    return table


def as_data(rows: list[ModelRow]) -> list[dict[str, Any]]:
    """Return the rows for programs."""
    return [asdict(row) for row in rows]


def _row(store: ModelStore, name: str, verify: bool) -> ModelRow:
    try:
        stored = store.open(name)
    except ModelUnavailable as error:
        return ModelRow(name, "-", "-", (), 0.0, problem=str(error))
    try:
        if verify:
            stored.verify()
    except ModelUnavailable as error:
        return row_of(stored.manifest, str(error))
    return row_of(stored.manifest)
