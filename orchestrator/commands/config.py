"""`isthmus config check`: whether settings are right, and what they mean."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from orchestrator.core.errors import SettingsError
from orchestrator.routing.connect import clearance_at
from orchestrator.serving.settings import PREFIX, NodeSettings
from orchestrator.settings import Settings, load, load_settings
from orchestrator.wire.security import TlsFiles, client_credentials, server_credentials
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
    findings = [*_nodes(settings), Finding("policies", _policies(settings))]
    if not settings.nodes:
        store = settings.models.store
        findings.append(Finding("nodes", f"none: an edge and a cloud are embedded, from {store}"))
    return findings


def check_node_settings(path: Path) -> list[Finding]:
    """Return what a node's settings file means; raise SettingsError if something is wrong."""
    settings = load(NodeSettings, PREFIX, path, {})
    binding = settings.binding()
    binding.check()
    if binding.tls:
        server_credentials(binding.tls)
    transport = "TLS" if binding.tls else "plaintext"
    if binding.tls and binding.tls.ca:
        transport = "TLS, callers need a certificate"
    warning = "" if settings.app else "names no app: give --app"
    return [
        Finding("node", f"listens on {settings.host}:{settings.port}, {transport}", warning),
        Finding("clearance", str(settings.clearance or "its tier's default")),
        Finding("models", str(settings.models)),
    ]


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


def _nodes(settings: Settings) -> list[Finding]:
    findings = []
    for entry in settings.nodes:
        place = entry.address or entry.zone
        clearance = clearance_at(entry, place)
        warning = ""
        if entry.insecure and clearance != entry.clearance:
            warning = "plaintext beyond this machine: it gets public data only"
        if not entry.insecure:
            client_credentials(TlsFiles(entry.tls.ca, entry.tls.cert, entry.tls.key))
        transport = "plaintext" if entry.insecure else "TLS"
        meaning = f"{entry.tier} at {place}, {transport}, clearance {clearance}"
        findings.append(Finding(f"node {entry.name}", meaning, warning))
    return findings


def _policies(settings: Settings) -> str:
    rules = settings.policies
    return f"filters {', '.join(rules.filters)}; scorers {', '.join(rules.scorers)}"
