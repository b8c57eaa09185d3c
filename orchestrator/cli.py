"""The `isthmus` command: exit 0 well, 1 failed, 2 wrong usage; tables for people or --json."""

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console, RenderableType

from orchestrator.core.errors import OrchestratorError, SettingsError, UsageError
from orchestrator.wire.quiet import quiet_grpc

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
models = typer.Typer(no_args_is_help=True, help="The model store.")
config = typer.Typer(no_args_is_help=True, help="Settings files.")
app.add_typer(models, name="models")
app.add_typer(config, name="config")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")
app.add_typer(audit, name="audit")

_WIDE = 175
_FLAG = ""  # what the help shows as the value of a flag, which takes none

AsJson = Annotated[bool, typer.Option("--json", metavar=_FLAG, help="Print data for programs.")]
Store = Annotated[Path, typer.Option("--models", help="The model store.")]
SettingsFile = Annotated[Path | None, typer.Option("--config", "-c", help="An isthmus.yaml.")]
Log = Annotated[Path | None, typer.Argument(help="The log; else that of the settings.")]
Anchor = Annotated[Path | None, typer.Option(help="Its anchor; else that of the settings.")]


def main() -> None:
    """Run the command and exit."""
    quiet_grpc()
    try:
        app()
    except OrchestratorError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2 if isinstance(error, SettingsError | UsageError) else 1)


@app.command()
def demo(
    nodes: Annotated[
        bool,
        typer.Option(
            "--nodes", metavar=_FLAG, help="Run real daemons, and kill and restart the cloud."
        ),
    ] = False,
    store: Store = Path("models"),
    as_json: AsJson = False,
) -> None:
    """Sort a private support inbox: cleaned at the edge, embedded where it is best."""
    from orchestrator.demo.run import run_demo

    sys.exit(asyncio.run(run_demo(store, with_nodes=nodes, as_json=as_json)))


@app.command()
def nodes(path: SettingsFile = None, as_json: AsJson = False) -> None:
    """Show who is there, what they serve, how busy and how well they are."""
    from orchestrator.commands import finding
    from orchestrator.commands import nodes as command

    rows = asyncio.run(command.survey(finding.find_settings(path)))
    _show(command.as_data(rows), command.as_table(rows), as_json)
    sys.exit(0 if all(row.ready for row in rows) else 1)


@app.command(name="egress-rules")
def egress_rules(
    path: SettingsFile = None,
    form: Annotated[
        Literal["nftables", "kubernetes"], typer.Option("--format", help="For whom.")
    ] = "nftables",
    dns: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help='A resolver that may be asked; kubernetes: or "cluster".'),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="One more place that may be dialled."),
    ] = None,
    select: Annotated[
        str, typer.Option(metavar="KEY=VALUE", help="The label of the pods of the site.")
    ] = "app=isthmus-edge",
    log: Annotated[
        bool, typer.Option("--log", metavar=_FLAG, help="Log refused attempts, ten a minute.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print firewall rules for an edge site: only the nodes of the settings may be reached."""
    from orchestrator.commands import egress as command
    from orchestrator.commands import finding

    found = finding.find_settings(path)
    site = asyncio.run(command.site_of(found, dns or (), allow or (), select, log=log))
    if as_json:
        print(json.dumps(command.as_data(site, form)))
    else:
        print(command.rendered(site, form), end="")


@app.command()
def bench(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="What to measure; else all.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often all take their turn.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.05, help="How long one turn is.")] = 2.0,
    peers: Annotated[
        str, typer.Option(help='What to compare with: "all", "none", or names, with commas.')
    ] = "all",
    environments: Annotated[Path, typer.Option(help="Where the peers' environments are.")] = Path(
        ".peers"
    ),
    out: Annotated[
        Path | None, typer.Option(help="A folder for data, plots and a page of each suite.")
    ] = None,
    store: Store = Path("models"),
    as_json: AsJson = False,
) -> None:
    """Measure what the library costs and reaches, beside bare transports and its peers."""
    from orchestrator.bench import command

    wanted = command.Wanted(suites or [], rounds, seconds, peers, environments, out, store)
    outcomes = asyncio.run(command.measure(wanted))
    _show(command.as_data(outcomes), command.as_tables(outcomes), as_json, wide=True)


@app.command(name="version")
def show_version() -> None:
    """Print the version."""
    print(version("isthmus"))


@config.command(name="check")
def config_check(
    path: Annotated[Path | None, typer.Argument(help="The file; ./isthmus.yaml else.")] = None,
    node: Annotated[bool, typer.Option("--node", metavar=_FLAG, help="It is a node.yaml.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a settings file is right, and what it means."""
    from orchestrator.commands import config as command
    from orchestrator.commands import finding

    found = finding.find_settings(path)
    findings = command.check_node_settings(found) if node else command.check_settings(found)
    _show(command.as_data(findings), command.as_table(found, findings), as_json)


@audit.command(name="verify")
def audit_verify(
    log: Log = None, anchor: Anchor = None, path: SettingsFile = None, as_json: AsJson = False
) -> None:
    """Say whether a log is whole, and else which entry is the first that is not; exit 1 then."""
    from rich.progress import Progress

    from orchestrator.commands import audit as command

    place = command.find_place(log, anchor, path)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verify", total=command.size_of(place.path))
        finding = command.check(place, lambda done: bar.advance(task, done))
    data = command.finding_as_data(place, finding)
    _show(data, command.finding_as_text(place, finding), as_json, wide=True)
    sys.exit(1 if finding.problem else 0)


@audit.command(name="show")
def audit_show(
    log: Log = None,
    service: Annotated[str, typer.Option(help="Only of this service.")] = "",
    kind: Annotated[
        str, typer.Option(help="Only decision, accepted, declassified, revealed, refused, ...")
    ] = "",
    since: Annotated[str, typer.Option(help="Only from this time on, such as 2026-01-31.")] = "",
    last: Annotated[int, typer.Option(min=0, help="Only the last so many; 0 is all.")] = 0,
    path: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the entries of a log; it is not verified."""
    from orchestrator.commands import audit as command

    place = command.find_place(log, None, path)
    found = command.select(place, command.Wanted(service, kind, since, last))
    _show(found, command.as_table(found), as_json, wide=True)


@audit.command(name="export")
def audit_export(
    log: Log = None,
    first: Annotated[int, typer.Option("--from", min=1, help="The first entry.")] = 1,
    last: Annotated[int, typer.Option("--to", min=0, help="The last one; 0 is the end.")] = 0,
    csv: Annotated[bool, typer.Option("--csv", metavar=_FLAG, help="CSV, not JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="A new file; else standard output.")] = None,
    anchor: Anchor = None,
    path: SettingsFile = None,
) -> None:
    """Write a range of entries together with the hashes that prove them."""
    from orchestrator.commands import audit as command

    place = command.find_place(log, anchor, path)
    with command.writes_to(out) as file:
        command.export(place, first, last, "csv" if csv else "json", file)


@models.command(name="add")
def models_add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A local Hugging Face style folder.")
    ] = None,
    factory: Annotated[
        str, typer.Option(help="Your own torch module: module:function that builds it.")
    ] = "",
    inputs: Annotated[  # to rich a bracket begins markup, unless escaped
        list[str] | None, typer.Option("--input", help='Its inputs, "x:float32\\[batch,8]".')
    ] = None,
    outputs: Annotated[list[str] | None, typer.Option("--output", help="Its outputs.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights, safetensors.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", metavar=_FLAG, help="Replace one of that name.")
    ] = False,
    store: Store = Path("models"),
    as_json: AsJson = False,
) -> None:
    """Make both forms of a model: torch for the cloud, ONNX for the edge."""
    from orchestrator.commands import models as command
    from orchestrator.models.export import add_tensor_model, add_text_embedding
    from orchestrator.models.store import ModelStore

    if bool(source) == bool(factory):
        raise UsageError("give --from for a text embedding, or --factory for your own module")
    sys.path.insert(0, str(Path.cwd()))
    with Console(stderr=True).status("starting") as status:
        told: dict[str, Any] = {"replace": replace, "progress": status.update}
        if source:
            manifest = add_text_embedding(ModelStore(store), name, source, **told)
        else:
            specs = [command.parse_input(text) for text in inputs or ()]
            told |= {"outputs": outputs or ["output"], "weights": weights}
            manifest = add_tensor_model(ModelStore(store), name, factory, specs, **told)
    rows = [command.row_of(manifest)]
    _show(command.as_data(rows), command.as_table(rows, store), as_json)


@models.command(name="quantise")
def models_quantise(
    name: Annotated[str, typer.Argument(help="The model.")],
    tolerance: Annotated[
        float, typer.Option(help="The most an answer may differ by, as a part of its norm.")
    ] = 0.25,
    store: Store = Path("models"),
    as_json: AsJson = False,
) -> None:
    """Add an INT8 graph, which edge nodes may choose where it is faster."""
    from orchestrator.commands import models as command
    from orchestrator.models.quantise import quantise
    from orchestrator.models.store import ModelStore

    with Console(stderr=True).status("starting") as status:
        manifest = quantise(ModelStore(store), name, tolerance=tolerance, progress=status.update)
    rows = [command.row_of(manifest)]
    _show(command.as_data(rows), command.as_table(rows, store), as_json)


@models.command(name="list")
def models_list(store: Store = Path("models"), as_json: AsJson = False) -> None:
    """Show the models of a store."""
    _show_models(store, as_json, verify=False)


@models.command(name="verify")
def models_verify(store: Store = Path("models"), as_json: AsJson = False) -> None:
    """Compare every file of a store with its manifest; exit 1 if one differs."""
    _show_models(store, as_json, verify=True)


def _show_models(store: Path, as_json: bool, *, verify: bool) -> None:
    from orchestrator.commands import models as command
    from orchestrator.models.store import ModelStore

    rows = command.rows_of(ModelStore(store), verify=verify)
    _show(command.as_data(rows), command.as_table(rows, store), as_json)
    sys.exit(1 if any(row.problem for row in rows) else 0)


def _show(data: Any, table: RenderableType, as_json: bool, *, wide: bool = False) -> None:
    if as_json:
        print(json.dumps(data))
    else:
        console = Console()
        if wide and console.width < _WIDE:  # a figure that is cut says nothing
            console = Console(width=_WIDE)
        console.print(table)
