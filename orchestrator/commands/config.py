"""`isthmus config check`: whether settings are right, and what they mean."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from orchestrator.core.errors import SettingsError
from orchestrator.routing.connect import (
    check_token,
    clearance_at,
    clearance_when_attached,
    listen_tls,
    tls_of,
)
from orchestrator.serving.access.access import Access
from orchestrator.serving.attach import Place
from orchestrator.serving.server import Binding, check_access
from orchestrator.serving.settings import PREFIX, NodeSettings
from orchestrator.settings.audit import AuditSettings
from orchestrator.settings.caller import Settings, load_settings
from orchestrator.settings.nodes import ListenSettings, NodeEntry
from orchestrator.sources import load
from orchestrator.wire.security import client_credentials, read_token, server_credentials
from policies.catalog import build_chain


@dataclass(frozen=True, slots=True)
class Finding:
    """What a part of the settings means, and what an operator should know of it."""

    subject: str
    meaning: str
    warning: str = ""


def check_settings(path: Path) -> list[Finding]:
    """Return what a caller's settings file means.

    Raises:
        SettingsError: Something in it is wrong, or a file it names cannot be read.
    """
    settings = load_settings(path)
    rules = settings.policies
    try:
        build_chain(rules.filters, rules.scorers, ms_per_dollar=rules.ms_per_dollar)
    except LookupError as error:
        raise SettingsError(f"{path}: policies: {error.args[0]}") from error
    findings = [*_listen(settings), *_nodes(settings), Finding("policies", _policies(settings))]
    if settings.audit.path:
        findings.append(_audit(settings.audit))
    if not settings.nodes:
        store = settings.models.store
        findings.append(Finding("nodes", f"none: an edge and a cloud are embedded, from {store}"))
    return findings


def check_node_settings(path: Path) -> list[Finding]:
    """Return what a node's settings file means; raise SettingsError if something is wrong."""
    settings = load(NodeSettings, PREFIX, path, {})
    binding, places = settings.binding(), settings.places()
    for place in (binding, *places):
        if place:
            place.check()
    access = settings.guests()
    if access and binding:
        check_access(access.settings, binding)
    warning = "" if settings.app else "names no app: give --app"
    return [
        Finding("node", _listening(binding), warning),
        *(Finding("attach", _attaching(place)) for place in places),
        Finding("clearance", str(settings.clearance or "its tier's default")),
        Finding("models", str(settings.models)),
        Finding("access", _guests(access)),
    ]


def _listening(binding: Binding | None) -> str:
    if binding is None:
        return "opens no port"
    transport = "TLS" if binding.tls else "plaintext"
    if binding.tls and binding.tls.ca:
        transport = "TLS, callers need a certificate"
    return f"listens on {binding.address}, {transport}"


def _guests(access: Access | None) -> str:
    if access is None:
        return "everyone who can connect may do everything"
    names = access.settings.identities
    return f"for {len(names)} identities: {', '.join(names)}"


def _attaching(place: Place) -> str:
    return f"dials the orchestrator at {place.address}, {'TLS' if place.tls else 'plaintext'}"


def as_table(path: Path, findings: list[Finding]) -> Table:
    """Return findings as a table for people."""
    table = Table("subject", "meaning", title=f"{path} is right")
    if any(finding.warning for finding in findings):
        table.add_column("mind", style="yellow")
    for finding in findings:
        cells = (finding.subject, finding.meaning, finding.warning)
        table.add_row(*map(Text, cells[: len(table.columns)]))
    return table


def as_data(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return findings for programs."""
    return [asdict(finding) for finding in findings]


def _listen(settings: Settings) -> list[Finding]:
    if (listen := settings.listen) is None:
        return []
    warning = ""
    if not any(entry.attach for entry in settings.nodes):
        warning = "no node has attach: true, so nobody may attach"
    if tls := listen_tls(listen):
        server_credentials(tls)
    return [Finding("listen", f"on {listen.address}, {_transport(listen.insecure)}", warning)]


def _nodes(settings: Settings) -> list[Finding]:
    return [_node(entry, settings.listen) for entry in settings.nodes]


def _node(entry: NodeEntry, listen: ListenSettings | None) -> Finding:
    if entry.attach and listen:
        clearance, insecure = clearance_when_attached(entry, listen), listen.insecure
        place = f"attaches as {entry.tls.identity or entry.name}"
    else:
        place = entry.address or entry.zone
        clearance, insecure = clearance_at(entry, place), entry.insecure
        if not insecure:
            client_credentials(tls_of(entry))
        if entry.token:
            check_token(entry, place)
            read_token(entry.token)
        place = f"at {place}"
    warning = ""
    if insecure and clearance != entry.clearance:
        warning = "plaintext beyond this machine: it gets public data only"
    meaning = f"{entry.tier} {place}, {_transport(insecure)}, clearance {clearance}"
    return Finding(f"node {entry.name}", meaning, warning)


def _audit(audit: AuditSettings) -> Finding:
    if audit.anchor is None:
        warning = "no anchor: nobody could tell that the end of the log was cut off"
        return Finding("audit", f"kept in {audit.path}", warning)
    every = f"{audit.anchor_seconds:g} s"
    return Finding("audit", f"kept in {audit.path}, anchored in {audit.anchor} every {every}")


def _transport(insecure: bool) -> str:
    return "plaintext" if insecure else "TLS"


def _policies(settings: Settings) -> str:
    rules = settings.policies
    return f"filters {', '.join(rules.filters)}; scorers {', '.join(rules.scorers)}"
