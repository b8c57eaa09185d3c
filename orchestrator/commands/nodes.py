"""`isthmus nodes`: who is there, what they serve, how busy and how well they are."""

import asyncio
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from orchestrator.core.errors import CallError
from orchestrator.core.report import NodeReport
from orchestrator.routing.connect import clearance_at, clearance_when_attached, connect, listen_tls
from orchestrator.routing.zone import resolve
from orchestrator.settings.caller import Settings, load_settings
from orchestrator.settings.nodes import NodeEntry
from orchestrator.wire.roster import attached_nodes


@dataclass(frozen=True, slots=True)
class NodeRow:
    """What one node of the settings is like now.

    Attributes:
        name: Its name in the settings.
        tier: The tier the settings say.
        address: Where it should be.
        state: Its own word, or "unreachable".
        clearance: The most private data that may go there, from here.
        round_trip_ms: Time for an empty call; 0 where only its orchestrator can tell.
        waiting: Calls in the node.
        services: What it serves.
        models: What it has loaded.
        device: What it computes on.
        software: The version it runs.
        problem: Why it takes no calls from here, in words.
    """

    name: str
    tier: str
    address: str
    state: str
    clearance: str
    round_trip_ms: float = 0.0
    waiting: int = 0
    services: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    device: str = ""
    software: str = ""
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether it takes calls from here."""
        return self.state == "ready" and not self.problem


async def survey(path: Path) -> list[NodeRow]:
    """Ask every node of a settings file how it is."""
    settings = load_settings(path)
    asked = [_ask(entry, address) for entry in settings.nodes for address in await _places(entry)]
    found = await asyncio.gather(_attached(settings), *asked)
    places = {entry.name: place for place, entry in enumerate(settings.nodes)}
    return sorted((row for rows in found for row in rows), key=lambda row: places[row.name])


def as_table(rows: list[NodeRow]) -> Group:
    """Return the rows for people: a table of how nodes are, and what each one serves."""
    table = Table(title="nodes", title_justify="left")
    for head in ("name", "tier", "address", "state", "clearance"):
        table.add_column(head)
    for head in ("round trip", "calls"):
        table.add_column(head, justify="right")
    for row in rows:
        state = Text(row.state, "green" if row.ready else "red")
        trip = f"{row.round_trip_ms:.1f} ms" if row.round_trip_ms else "-"
        cells = (row.name, row.tier, row.address, state, row.clearance, trip, str(row.waiting))
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
    return Group(table, *(Text(_in_words(row)) for row in rows))


def _in_words(row: NodeRow) -> str:
    """Say what a node serves, or why it does not."""
    if row.problem:
        return f"{row.name}: {row.problem}"
    models = f"; {', '.join(row.models)} on {row.device}" if row.models else ""
    return f"{row.name} serves {', '.join(row.services) or 'nothing'}{models}"


def as_data(rows: list[NodeRow]) -> list[dict[str, Any]]:
    """Return the rows for programs."""
    return [asdict(row) for row in rows]


async def _places(entry: NodeEntry) -> list[str]:
    if entry.attach:
        return []
    if entry.address:
        return [entry.address]
    try:
        return sorted(await resolve(entry.zone))
    except OSError:
        return [entry.zone]


async def _attached(settings: Settings) -> list[NodeRow]:
    """Ask the orchestrator that runs with these settings for the nodes that attach to it."""
    entries, listen = [entry for entry in settings.nodes if entry.attach], settings.listen
    if not entries or listen is None:
        return []
    nodes: dict[str, NodeReport | None] = {}
    problem = "it is not attached: is it running with --attach?"
    try:
        nodes = await attached_nodes(listen.address, listen_tls(listen), listen.tls.identity)
    except CallError as error:
        problem = f"only its orchestrator knows: {error}"
    place, rows = f"attaches to {listen.address}", []
    for entry in entries:
        clearance = clearance_when_attached(entry, listen)
        if report := nodes.get(entry.name):
            rows.append(_row(entry, place, report, str(clearance.meet(report.clearance))))
        else:
            kept = str(clearance)
            rows.append(
                NodeRow(entry.name, entry.tier, place, "unreachable", kept, problem=problem)
            )
    return rows


async def _ask(entry: NodeEntry, address: str) -> list[NodeRow]:
    clearance = clearance_at(entry, address)
    endpoint = connect(entry, 2**20, address=address)
    try:
        await endpoint.channel.describe()  # makes the connection, which is not the round trip
        started = time.monotonic()
        report = await endpoint.channel.describe()
        round_trip_ms = (time.monotonic() - started) * 1e3
    except CallError as error:
        kept = str(clearance)
        return [NodeRow(entry.name, entry.tier, address, "unreachable", kept, problem=str(error))]
    finally:
        await endpoint.channel.aclose()
    return [_row(entry, address, report, str(clearance.meet(report.clearance)), round_trip_ms)]


def _row(
    entry: NodeEntry, address: str, report: NodeReport, clearance: str, round_trip_ms: float = 0.0
) -> NodeRow:
    problem = ""
    if report.tier != entry.tier:
        problem = f"it is a node of tier {report.tier}: correct its tier in the settings"
    return NodeRow(
        name=entry.name,
        tier=entry.tier,
        address=address,
        state=report.state,
        clearance=clearance,
        round_trip_ms=round_trip_ms,
        waiting=report.waiting,
        services=tuple(service.name for service in report.services),
        models=tuple(f"{model.name} {model.version}" for model in report.models),
        device=report.device,
        software=report.software,
        problem=problem,
    )
