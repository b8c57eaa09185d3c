"""The audit logs of a caller and a node, over a real daemon: what is in them, and a full disk."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import Orchestrator, Secret, Sensitive
from orchestrator.core.errors import AuditUnavailable, PrivacyRefused, ServiceFailed
from orchestrator.telemetry.audit.verify import verify

if TYPE_CHECKING:
    from tests.e2e.conftest import Start

CANARY = "canary-4f0e surname-4f0e"


@pytest.fixture(scope="module")
def ward(apps: None) -> ModuleType:
    return import_module("ward")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for a few pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def fill(folder: Path) -> Path:
    """Take all room that is left."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(b"x" * 512):
            pass
    return filler


def test_both_sides_tell_one_story_and_no_payload(
    start: "Start", ward: ModuleType, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "caller.log", tmp_path / "node.log"
    anchor = tmp_path / "anchor.json"
    node = start("edge", "--audit", str(theirs), "--audit-anchor", str(anchor), app="ward")
    settings = {"nodes": [node.entry(name="e1")], "audit": {"path": ours}}
    with Orchestrator(settings, app="ward"):
        assert ward.lookup(Secret(CANARY, "phi")).reveal("the test") == len(CANARY)
        assert ward.initials(Sensitive(CANARY)) == "cs"
        with pytest.raises(ServiceFailed):
            ward.fail(Secret(CANARY))
        with pytest.raises(PrivacyRefused):
            ward.ping(Secret(7))
        assert ward.ping(7) == 7
        entries_written = node.metric("isthmus_audit_entries_total")
        assert entries_written == node.metric("isthmus_audit_commit_seconds_count") == 4
    kinds = [(e["kind"], e.get("service")) for e in entries(ours)]
    assert kinds == [
        ("decision", "lookup"), ("revealed", None), ("decision", "initials"), ("decision", "fail"),
        ("refused", "ping"),
    ]  # fmt: skip
    told = [(e["kind"], e["service"]) for e in entries(theirs)]
    assert told == [
        ("accepted", "lookup"), ("accepted", "initials"), ("declassified", "initials"),
        ("accepted", "fail"),
    ]  # fmt: skip
    decided = {e["call"] for e in entries(ours) if e["kind"] == "decision"}
    assert decided == {e["call"] for e in entries(theirs)}
    for log in (ours, theirs):
        assert verify(log).problem == ""
        assert not any(word in log.read_text() for word in CANARY.split())
    node.process.terminate()
    assert node.wait() == 0
    assert json.loads(anchor.read_text())["seq"] == 4


def test_on_a_full_disk_labelled_calls_are_refused_and_public_ones_go_on(
    ward: ModuleType, start: "Start", small_disk: Path, tmp_path: Path
) -> None:
    """The disk of the caller's log first, then that of the node's."""
    path = small_disk / "audit.log"
    node = start("edge", app="ward")
    kept = {"path": path, "key": tmp_path / "key"}
    with Orchestrator({"nodes": [node.entry()], "audit": kept}, app="ward"):
        assert_refused_while_full(ward, small_disk)
    assert verify(path).problem == ""
    assert [e["count"] for e in entries(path) if e["kind"] == "missed"] == [1]


def test_on_a_node_with_a_full_disk_too(
    ward: ModuleType, start: "Start", small_disk: Path, tmp_path: Path
) -> None:
    path, key = small_disk / "audit.log", tmp_path / "key"
    node = start("edge", "--audit", str(path), "--audit-key", str(key), app="ward")
    with Orchestrator({"nodes": [node.entry()]}, app="ward"):
        assert_refused_while_full(ward, small_disk)
    assert "Labelled calls are refused until it can" in node.output
    assert "can be written again" in node.output
    assert node.metric("isthmus_audit_refused_total") >= 1
    assert node.metric("isthmus_audit_writable") == 1
    assert verify(path).problem == ""


def assert_refused_while_full(ward: ModuleType, disk: Path) -> None:
    assert ward.lookup(Secret("abc")).level == Secret.level  # the control: there is room
    filler = fill(disk)
    refused = 0
    for _ in range(40):  # the last page has room for some entries
        try:
            ward.lookup(Secret("abc"))
        except AuditUnavailable as error:
            assert AuditUnavailable.public in str(error)
            refused += 1
            break
        assert ward.ping(1) == 1
    assert refused
    assert ward.ping(2) == 2
    filler.unlink()
    assert ward.lookup(Secret("abc")).level == Secret.level


def test_two_processes_need_two_logs(start: "Start", tmp_path: Path) -> None:
    path = str(tmp_path / "audit.log")
    start("edge", "--audit", path, app="ward")
    second = start("edge", "--audit", path, app="ward", ready=False)
    assert second.wait() == 2
    assert "written by another process: give each a file of its own" in second.output


def test_a_check_does_not_need_the_log_that_a_daemon_holds(start: "Start", tmp_path: Path) -> None:
    path = str(tmp_path / "audit.log")
    start("edge", "--audit", path, app="ward")
    checked = start("edge", "--audit", path, "--check", app="ward", ready=False)
    assert checked.wait() == 0


def test_in_one_process_all_is_in_one_log(ward: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with Orchestrator({"audit": {"path": path}}, app=ward):
        assert ward.initials(Sensitive(CANARY)) == "cs"
    kinds = [(e["kind"], e["node"]) for e in entries(path)]
    assert kinds == [("decision", "edge"), ("accepted", "edge"), ("declassified", "edge")]
    with Orchestrator({"audit": {"path": path}}, app=ward):
        ward.ping(1)
    assert len(entries(path)) == 3


def test_what_cannot_be_written_down_is_not_revealed(
    ward: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    secret = Secret(CANARY)
    assert secret.reveal("nothing is open") == CANARY
    with Orchestrator({"audit": {"path": tmp_path / "audit.log"}}, app=ward):
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(AuditUnavailable):
                secret.reveal("the disk is full")
        assert secret.reveal("there is room again") == CANARY
    assert secret.reveal("it is closed again") == CANARY
    reasons = [entry.get("reason") for entry in entries(tmp_path / "audit.log")]
    assert reasons == [None, "there is room again"]
