import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud_node.settings import CloudSettings
from edge_node.runtime import OnnxRuntime
from edge_node.settings import EdgeSettings
from orchestrator.core.report import NodeReport
from orchestrator.serving.batching.batcher import BatchOptions
from orchestrator.serving.cli import run_daemon
from orchestrator.serving.settings import NodeSettings
from policies.facts import Clearance, Level

if TYPE_CHECKING:
    from tests.conftest import Certificates

Ended = subprocess.CompletedProcess[str]
Command = Callable[..., Ended]

APPS = {
    "plain": """
from collections.abc import Iterator
from orchestrator import Orchestrator, Sensitive, cloud_service, edge_service

@edge_service(overflow="cloud")
def add(a: int, b: int) -> int:
    return a + b

@edge_service
def count(to: int) -> Iterator[int]:
    yield from range(to)

@edge_service(declassifies=True)
def redact(text: Sensitive[str]) -> str:
    return "***"

@cloud_service
def far(text: str) -> int:
    return len(text)

embedded = Orchestrator()
number = 3
""",
    "modelled": """
from orchestrator import TextEmbedding, edge_service
minilm = TextEmbedding("minilm")
embed = edge_service(minilm, overflow="cloud")
""",
    "twice": """
from orchestrator import edge_service

@edge_service
def one() -> int:
    return 1

@edge_service(name="one")
def other() -> int:
    return 1
""",
    "needs_more": "import a_module_that_nobody_has\n",
    "empty": "x = 1\n",
    "slip": "def f(:\n",
    "broken": "x = name_that_is_not_defined\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with apps of all kinds."""
    folder = tmp_path_factory.mktemp("apps")
    for name, text in APPS.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def node(folder: Path) -> Command:
    """Runs a daemon to its end, in the folder of the apps."""

    def node(*flags: str, tier: str = "edge", **env: str) -> Ended:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ISTHMUS_")}
        return subprocess.run(
            [sys.executable, "-m", f"{tier}_node", *flags],
            cwd=folder,
            env=clean | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return node


def failed(ended: Ended, code: int, *said: str) -> None:
    """Check that a command failed in one clear line."""
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: "), ended.stderr
    for words in said:
        assert words in line
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("tier", "served"), [("edge", ["add", "count", "redact"]), ("cloud", ["add", "far"])]
)
def test_a_check_prints_what_the_tier_would_serve_and_ends_with_0(
    tier: str, served: list[str], node: Command
) -> None:
    ended = node("--app", "plain", "--check", tier=tier)
    assert ended.returncode == 0, ended.stderr
    head, *lines = ended.stdout.splitlines()
    assert f"({tier}, clearance {'secret' if tier == 'edge' else 'internal'}) would serve:" in head
    assert [line.split("(")[0].strip() for line in lines] == served
    if tier == "edge":
        assert "  add(a: int, b: int) -> int" in lines
        assert "  count(to: int) -> stream of int" in lines


def test_a_check_for_programs_prints_one_json_object_and_nothing_else(node: Command) -> None:
    ended = node("--app", "plain", "--check", "--json", "--name", "e7")
    data = json.loads(ended.stdout)
    assert (data["name"], data["tier"], data["clearance"]) == ("e7", "edge", "secret")
    assert [service["name"] for service in data["services"]] == ["add", "count", "redact"]
    assert all(len(service["version"]) == 12 for service in data["services"])


@pytest.mark.parametrize("tier", ["edge", "cloud"])
def test_a_check_loads_warms_and_runs_each_model(
    tier: str, node: Command, minilm_store: Path
) -> None:
    ended = node("--app", "modelled", "--models", str(minilm_store), "--check", tier=tier)
    assert ended.returncode == 0, ended.stderr
    assert "model minilm " in ended.stdout
    assert "is warm on" in ended.stderr


def test_a_check_of_a_missing_model_names_the_command_that_adds_it(
    node: Command, tmp_path: Path
) -> None:
    ended = node("--app", "modelled", "--models", str(tmp_path), "--check")
    failed(
        ended,
        1,
        "model 'minilm' is not in",
        f"`isthmus models add minilm --from <folder> --models {tmp_path}`",
    )


def test_a_check_of_a_damaged_model_names_the_file_and_the_cure(
    node: Command, tmp_path: Path, minilm_store: Path
) -> None:
    shutil.copytree(minilm_store, tmp_path / "store")
    with (tmp_path / "store/minilm/onnx/model.onnx").open("r+b") as file:
        file.seek(10_000)
        file.write(b"damage")
    ended = node("--app", "modelled", "--models", str(tmp_path / "store"), "--check")
    failed(ended, 1, "onnx/model.onnx differs from the manifest", "`isthmus models add`")


@pytest.mark.parametrize(
    ("app", "code", "said"),
    [
        ("nowhere", 2, "app 'nowhere' cannot be imported: No module named 'nowhere'"),
        ("needs_more", 2, "No module named 'a_module_that_nobody_has'"),
        ("empty", 2, "app 'empty' declares no service: decorate a function with @edge_service"),
        ("plain:nothing", 2, "module plain has no 'nothing'"),
        ("plain:number", 2, "--app module:attribute must name an Orchestrator"),
        ("plain:embedded", 2, "is an embedded one, which would start nodes inside this node"),
        ("twice", 1, "two services are named 'one'"),
        ("", 2, "give --app module"),
    ],
)
def test_an_app_that_cannot_be_served_is_told_with_the_cure(
    app: str, code: int, said: str, node: Command
) -> None:
    failed(node("--app", app, "--check"), code, said)


@pytest.mark.parametrize("app", ["slip", "broken", ".relative", ":attribute"])
def test_an_app_that_fails_while_it_is_imported_is_told_in_one_line(
    app: str, node: Command
) -> None:
    failed(node("--app", app, "--check"), 2, "cannot be imported")


def test_an_address_that_others_can_reach_needs_tls_or_a_word(node: Command) -> None:
    flags = ["--app", "plain", "--host", "0.0.0.0", "--check"]
    failed(node(*flags), 2, "0.0.0.0 can be reached from other machines", "--insecure")
    assert node(*flags, "--insecure").returncode == 0


def test_without_a_check_the_open_address_is_refused_before_anything_listens(
    node: Command,
) -> None:
    ended = node("--app", "plain", "--host", "0.0.0.0", "--port", "0")
    failed(ended, 2, "say --insecure")
    assert "listens on" not in ended.stderr


def test_certificates_open_the_address_without_the_word(
    node: Command, certificates: "Certificates"
) -> None:
    tls = ["--tls-cert", str(certificates.node.cert), "--tls-key", str(certificates.node.key)]
    assert node("--app", "plain", "--host", "0.0.0.0", *tls, "--check").returncode == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tls-ca", "ca.pem"], "needs --tls-cert, --tls-key"),
        (["--tls-cert", "node.pem"], "a TLS certificate needs its key"),
        (["--tls-cert", "a", "--tls-key", "b", "--insecure"], "--insecure means no TLS"),
        (["--clearance", "utmost"], "unknown level 'utmost'"),
        (["--log-level", "loud"], "log_level"),
        (["--metrics-port", "70000"], "metrics_port"),
        (["--audit-anchor", "anchor.json"], "a key or an anchor belongs to an audit log"),
        (["--audit", "a", "--audit-key", "a"], "three different files"),
        (["--max-batch-size", "0"], "max_batch_size"),
        (["--max-delay-ms", "-1"], "max_delay_ms"),
        (["--graph", "int4"], "there is no graph 'int4': choose from full, "),
        (["--name", ""], "--name is empty: give a name, or leave it out"),
        (["--config", "nowhere.yaml"], "there is no settings file nowhere.yaml"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line_and_ends_with_2(
    flags: list[str], said: str, node: Command
) -> None:
    failed(node("--app", "plain", "--check", *flags), 2, said)


def test_how_a_model_runs_and_batches_is_what_the_flags_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[NodeSettings] = []

    async def check(tier: str, settings: NodeSettings, runtime: object) -> NodeReport:
        seen.append(settings)
        return NodeReport("n", "edge", "ready", Clearance(Level.SECRET))

    monkeypatch.setattr("orchestrator.serving.cli.check_node", check)
    flags = ["--max-batch-size", "5", "--max-delay-ms", "2.5", "--graph", "full-fused"]
    for more in ([], ["--no-shape-aware", "--no-memory-aware"]):
        monkeypatch.setattr(sys, "argv", ["edge-node", "--check", *flags, *more])
        with pytest.raises(SystemExit):
            run_daemon("edge", EdgeSettings, OnnxRuntime)
    made = [(settings.graph, settings.options("edge").batching) for settings in seen]
    aware, blind = (BatchOptions(5, 2.5, shape, shape) for shape in (True, False))
    assert made == [("full-fused", aware), ("full-fused", blind)]


def test_a_port_that_cannot_be_is_refused(node: Command) -> None:
    failed(node("--app", "plain", "--check", "--port", "70000"), 2, "port")


@pytest.mark.parametrize("tier", ["edge", "cloud"])
def test_a_port_that_is_taken_is_told_in_one_line_and_grpc_adds_none(
    tier: str, node: Command
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = node("--app", "plain", "--port", str(taken.getsockname()[1]), tier=tier)
    failed(ended, 2, "127.0.0.1")
    assert "add_port" not in ended.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--attach", "hub.example:50050"], "hub.example:50050 is another machine's: give --tls-c"),
        (["--attach", "hub.example"], "'hub.example' has no port from 1 to 65535: write host:port"),
        (["--attach", "localhost:1", "--attach", "localhost:1"], "an orchestrator is named twice"),
        (["--attach", "localhost:1", "--tls-ca", "ca.pem"], "needs --tls-cert, --tls-key"),
    ],
)
def test_a_place_that_a_node_cannot_attach_to_is_told(
    flags: list[str], said: str, node: Command
) -> None:
    failed(node("--app", "plain", "--check", *flags), 2, said)
    failed(node("--app", "plain", *flags), 2, said)


def test_an_unknown_flag_ends_with_2(node: Command) -> None:
    ended = node("--app", "plain", "--prot", "1")
    assert ended.returncode == 2
    assert "No such option" in ended.stderr


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    node: Command, tmp_path: Path
) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("{app: plain, name: of-the-file, clearance: internal}")

    def name(*flags: str, **env: str) -> str:
        ended = node("--config", str(file), "--check", "--json", *flags, **env)
        return str(json.loads(ended.stdout)["name"])

    in_environment = {"ISTHMUS_NODE_NAME": "of-the-environment"}
    assert name() == "of-the-file"
    assert name(**in_environment) == "of-the-environment"
    assert name("--name", "of-the-flag", **in_environment) == "of-the-flag"


def test_an_unknown_key_is_refused_wherever_it_stands(node: Command, tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("clearence: secret")
    config = ["--config", str(tmp_path / "node.yaml")]
    failed(
        node("--app", "plain", "--check", *config), 2, "unknown key 'clearence'", "mean clearance?"
    )
    failed(
        node("--app", "plain", "--check", ISTHMUS_NODE_CLEARENCE="secret"),
        2,
        "environment variable ISTHMUS_NODE_CLEARENCE: unknown key 'clearence'",
    )


def test_settings_of_the_callers_side_do_not_disturb_a_node(node: Command) -> None:
    assert node("--app", "plain", "--check", ISTHMUS_MODELS__STORE="x").returncode == 0


def test_a_clearance_with_categories_is_read(node: Command) -> None:
    ended = node("--app", "plain", "--check", "--json", "--clearance", "sensitive:phi,pii")
    assert json.loads(ended.stdout)["clearance"] == "sensitive{phi, pii}"


def test_log_lines_for_programs_are_json_objects(node: Command) -> None:
    ended = node("--app", "plain", "--check", "--log-format", "json")
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["isthmus.node"]
    assert {"event", "level", "timestamp"} <= lines[0].keys()


def test_a_quiet_log_level_says_nothing_when_all_is_well(node: Command) -> None:
    assert node("--app", "plain", "--check", "--log-level", "error").stderr == ""


@pytest.mark.parametrize("tier", ["edge", "cloud"])
def test_the_version_needs_no_app(tier: str, node: Command) -> None:
    ended = node("--version", tier=tier)
    assert ended.returncode == 0
    assert ended.stdout[0].isdigit()


def test_the_help_names_what_an_operator_needs(node: Command) -> None:
    ended = node("--help", COLUMNS="200", TERM="dumb")
    assert ended.returncode == 0
    for flag in (
        "--app",
        "--host",
        "--port",
        "--models",
        "--clearance",
        "--tls-cert",
        "--insecure",
    ):
        assert flag in ended.stdout
    assert "docs/run-nodes.md" in ended.stdout


def test_the_help_shows_defaults_and_flags_that_take_no_value(node: Command) -> None:
    said = node("--help", COLUMNS="200", TERM="dumb").stdout
    for setting in ("host", "models"):
        assert f"[default: ({NodeSettings.model_fields[setting].default})]" in said
    ports = [kind.default_port for kind in (EdgeSettings, CloudSettings)]
    assert "[default: (edge {}, cloud {}, none with --attach)]".format(*ports) in said
    flags = [line for line in said.splitlines() if "<bool>" in line]
    assert [line.split()[1] for line in flags] == ["--help"]  # which is typer's own


def test_a_device_that_is_not_there_is_told_with_those_that_are(
    node: Command, minilm_store: Path
) -> None:
    flags = ["--app", "modelled", "--models", str(minilm_store), "--check", "--device"]
    failed(node(*flags, "NpuExecutionProvider"), 2, "is not present: ", "CPUExecutionProvider")


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_node_listens_on_an_ipv6_address(folder: Path) -> None:
    command = [sys.executable, "-m", "edge_node", "--app", "plain", "--host", "::1", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            lines = [process.stderr.readline() for _ in range(2)]
        finally:
            process.kill()
    assert "listens on" in lines[0]


def test_nothing_of_the_app_is_needed_on_the_python_path_but_its_folder(
    node: Command, folder: Path
) -> None:
    ended = node("--app", "plain", "--check", PYTHONSAFEPATH="1")
    assert ended.returncode == 0, ended.stderr
