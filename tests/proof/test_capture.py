"""The small forms; `make proof PART=capture` is the full one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proofs.capture import prove
from benchmarks.proofs.capture.namespaces import possible

CLEAN: dict[str, Any] = {
    "cable": True,
    "retried": 0,
    "fell_back": 5,
    "cut": 10,
    "ends": {"public": {"right": 900, "away": 90}, "stream": {"right": 10}},
    "leaks": {"bytes on the wire": {}, "log": {}},
    "leaked_numbers": {"bytes on the wire": {}, "log": {}},
    "sizes": {"bytes on the wire": 10**6, "log": 10},
    "wire": {
        "packets": 2000, "lost": 0, "missing": 0, "streams": 10, "size": 10**6, "messages": 10,
        "compressed": 0, "encodings": [],
    },
    "marks": 800,
    "marks_seen": 800,
    "planted": ["log"],
    "missed": [],
}  # fmt: skip


def run_proof(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the proof in a process of its own: its app trusts the cable as this machine."""
    command = [sys.executable, "-m", "benchmarks.proofs", "capture", "--docs", str(folder)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "capture.json").read_text())
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("arguments", "way"),
    [(["--messages", "2000"], ""), (["--messages", "500", "--by-proxy"], prove.PROXY)],
)
def test_nothing_labelled_leaves(tmp_path: Path, arguments: list[str], way: str) -> None:
    found = run_proof(tmp_path, *arguments)
    assert [check for check in found["checks"] if not check["holds"]] == []
    assert found["terms"]["recorded over"] == (way or prove.way())
    figures = found["figures"]
    assert figures["canaries"] > figures["marks"] > 100
    assert len(figures["planted"]) >= 17
    assert "0 hits" in (tmp_path / "capture.md").read_text()


def test_root_in_ci_has_to_record_between_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "possible", lambda: False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(RuntimeError, match="network namespaces"):
        prove.way()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert prove.way() == prove.PROXY
    assert not possible()  # who is not root does not even try


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, []),
        ({"leaks": {"bytes on the wire": {"hex": 1}, "log": {}}}, ["bytes on the wire"]),
        ({"leaked_numbers": {"bytes on the wire": {}, "log": {"plain": 1}}}, ["log"]),
        ({"sizes": {"bytes on the wire": 0, "log": 10}}, ["bytes on the wire"]),
        ({"ends": {"public": {"right": 999, "wrong: answered": 1}}}, ["kinds of calls"]),
        ({"ends": {"public": {"right": 300, "away": 700}}}, ["kinds of calls"]),
        ({"ends": {"public": {"right": 1000}, "stream": {}}}, ["kinds of calls"]),
        ({"fell_back": 0}, ["kinds of calls"]),
        ({"cut": 0}, ["kinds of calls"]),
        ({"marks_seen": 799}, ["mark"]),
        ({"marks": 20, "marks_seen": 20}, ["mark"]),
        ({"wire": CLEAN["wire"] | {"lost": 1}}, ["whole"]),
        ({"wire": CLEAN["wire"] | {"missing": 1}}, ["whole"]),
        ({"wire": CLEAN["wire"] | {"packets": 3}}, ["whole"]),
        ({"wire": CLEAN["wire"] | {"size": 3}}, ["whole"]),
        ({"wire": CLEAN["wire"] | {"compressed": 1}}, ["compressed"]),
        ({"wire": CLEAN["wire"] | {"encodings": ["gzip"]}}, ["compressed"]),
        ({"wire": CLEAN["wire"] | {"messages": 0}}, ["compressed"]),
        ({"missed": ["log"]}, ["positive control"]),
        ({"planted": []}, ["positive control"]),
    ],
)
def test_what_is_wrong_is_found_and_named(change: dict[str, Any], broken: list[str]) -> None:
    checks = [check for check in prove.checks_of(CLEAN | change, 1000) if not check.holds]
    assert len(checks) == len(broken)
    assert all(words in check.promise for words, check in zip(broken, checks, strict=True))
