"""The command line that both daemons share."""

import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.core.errors import OrchestratorError, SettingsError
from orchestrator.core.report import NodeReport, ServiceReport
from orchestrator.serving.daemon import check_node, serve
from orchestrator.serving.logs import set_up_logging
from orchestrator.serving.loops import run_on_loop
from orchestrator.serving.runtimes import RuntimeKind
from orchestrator.serving.settings import PREFIX, NodeSettings
from orchestrator.sources import load
from policies.facts import Tier

EXIT_FAILURE, EXIT_USAGE = 1, 2

_FLAG = ""  # what the help shows as the value of a flag, which takes none
_PORTS = "edge 50051, cloud 50052, none with --attach"


@dataclass(frozen=True, slots=True)
class _Daemon:
    """Which daemon the command line is for."""

    tier: Tier
    settings: type[NodeSettings]
    runtime: RuntimeKind


def _default(setting: str) -> str:
    """Return a setting's default for the help; a flag's own is to say nothing."""
    return str(NodeSettings.model_fields[setting].default)


def run_daemon(tier: Tier, settings: type[NodeSettings], runtime: RuntimeKind) -> None:
    """Run a daemon from its command line and exit: 0 well, 1 failed, 2 wrong usage.

    Args:
        tier: Where its node stands.
        settings: Its settings, with their defaults.
        runtime: What executes its models.
    """
    shell = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    shell.command()(command)
    try:
        shell(obj=_Daemon(tier, settings, runtime))
    except OrchestratorError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_USAGE if isinstance(error, SettingsError) else EXIT_FAILURE)


def command(
    context: typer.Context,
    app: Annotated[str | None, typer.Option(help="Your module: module[:orchestrator].")] = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen.", show_default=_default("host"))
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="The port; 0 takes a free one.", show_default=_PORTS),
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option(help="An orchestrator's host:port to dial; opens no port unless --port does."),
    ] = None,
    socket: Annotated[Path | None, typer.Option(help="A Unix socket to listen on, too.")] = None,
    models: Annotated[
        Path | None, typer.Option(help="The model store.", show_default=_default("models"))
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A node.yaml.")] = None,
    name: Annotated[str | None, typer.Option(help="What reports call it.")] = None,
    clearance: Annotated[
        str | None, typer.Option(help='The most it accepts: "internal", "secret:phi,pii".')
    ] = None,
    reveal: Annotated[
        str | None, typer.Option(help="Whether .reveal opens values: audited, forbidden.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Its certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="Who signs callers, PEM.")] = None,
    access: Annotated[Path | None, typer.Option(help="Who may do what: an access.yaml.")] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", metavar=_FLAG, help="Plaintext beyond this machine."),
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serves /metrics, /readyz and /livez.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="Keeps an audit log there; docs/audit.md.")
    ] = None,
    audit_key: Annotated[
        Path | None, typer.Option(help="The key of its digests.", show_default="beside the log")
    ] = None,
    audit_anchor: Annotated[
        Path | None, typer.Option(help="Where the end of the log is written down.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="What to compute on.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of one run.")] = None,
    graph: Annotated[
        str | None, typer.Option(help="Edge: the graph to run, such as full or int8-unfused.")
    ] = None,
    max_batch_size: Annotated[int | None, typer.Option(help="The most rows in a run.")] = None,
    max_delay_ms: Annotated[
        float | None, typer.Option(help="How long an idle model may wait for more rows.")
    ] = None,
    shape_aware: Annotated[
        bool | None,
        typer.Option(
            "--shape-aware/--no-shape-aware",
            metavar=_FLAG,
            help="Rows of like length run together.",
        ),
    ] = None,
    memory_aware: Annotated[
        bool | None,
        typer.Option(
            "--memory-aware/--no-memory-aware", metavar=_FLAG, help="Remember what did not fit."
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.")] = None,
    check: Annotated[
        bool, typer.Option("--check", metavar=_FLAG, help="Load and warm all, then end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar=_FLAG, help="Print --check as JSON.")
    ] = False,
    show_version: Annotated[
        bool, typer.Option("--version", metavar=_FLAG, help="Print the version.")
    ] = False,
) -> None:
    """Serve one tier of an app; docs/run-nodes.md tells how."""
    daemon: _Daemon = context.obj
    if show_version:
        print(version("isthmus"))
        return
    flags = {k: v for k, v in context.params.items() if k in daemon.settings.model_fields}
    given = {k: v for k, v in flags.items() if v not in (None, (), [])}
    if name == "":
        raise SettingsError("--name is empty: give a name, or leave it out")
    settings = load(daemon.settings, PREFIX, config, given)
    set_up_logging(settings.log_level, settings.log_format)
    runtime = daemon.runtime(settings.device, settings.threads, settings.graph)
    if not check:
        run_on_loop(serve(daemon.tier, settings, runtime))
        return
    report = run_on_loop(check_node(daemon.tier, settings, runtime))
    print(_as_json(report) if as_json else _in_words(report))


def _as_json(report: NodeReport) -> str:
    return json.dumps(
        {
            "name": report.name,
            "tier": report.tier,
            "clearance": str(report.clearance),
            "device": report.device,
            "services": [{"name": s.name, "version": s.version} for s in report.services],
            "models": [
                {"name": m.name, "version": m.version, "graph": m.graph, "batched": m.batched}
                for m in report.models
            ],
        }
    )


def _in_words(report: NodeReport) -> str:
    lines = [f"{report.name} ({report.tier}, clearance {report.clearance}) would serve:"]
    lines += [f"  {service.name}{_signature(service)}" for service in report.services]
    lines += [f"  model {m.name} {m.version} on {m.device}, {m.graph}" for m in report.models]
    return "\n".join(lines)


def _signature(service: ServiceReport) -> str:
    """Return what a service takes and gives; the result of a stream is that of one item."""
    arguments, arrow, result = service.signature.rpartition(" -> ")
    return f"{arguments}{arrow}{'stream of ' if service.stream else ''}{result}"
