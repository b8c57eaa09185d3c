import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.audit import LoggedAudit, Refused, Revealed, kept
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import AuditUnavailable, SettingsError
from orchestrator.telemetry.audit.anchor import read_anchor
from orchestrator.telemetry.audit.log import AuditLog, AuditPlace, default_key, open_audit
from orchestrator.telemetry.audit.verify import verify
from policies.facts import Label, Level

Wait = Callable[[Callable[[], object]], None]


def entries(place: AuditPlace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.path.read_text().splitlines()]


def anchored_at(anchor: Path, seq: int) -> bool:
    return read_anchor(anchor).seq == seq


@pytest.fixture
def until() -> Wait:
    """Waits until a condition holds that the log's thread brings about."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.002)

    return wait


class Disk:
    """A switch that makes every fsync of the process fail, or wait."""

    def __init__(self) -> None:
        self.full = False
        self.held = threading.Event()
        self.held.set()
        self.syncs = 0
        self._sync = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.held.wait(20)
        self.syncs += 1
        if self.full:
            raise OSError(28, "No space left on device")
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk)
    return disk


def test_without_a_place_nothing_is_kept() -> None:
    with open_audit(None) as audit:
        assert isinstance(audit, LoggedAudit)


def test_what_was_acknowledged_is_in_the_file_at_once(place: AuditPlace) -> None:
    with open_audit(place, wall=lambda: 0.0) as log:
        log.record(Refused(service="embed", rule="privacy", label=Label(Level.SECRET))).result(10)
        [entry] = entries(place)
    assert (entry["seq"], entry["kind"], entry["service"]) == (1, "refused", "embed")
    assert entry["time"] == "1970-01-01T00:00:00.000000+00:00"
    assert verify(place.path).problem == ""


def test_a_chain_goes_on_where_it_ended(place: AuditPlace) -> None:
    for _ in range(3):
        with open_audit(place) as log:
            log.record(Refused(rule="privacy")).result(10)
    assert [entry["seq"] for entry in entries(place)] == [1, 2, 3]
    assert verify(place.path).problem == ""


def test_an_event_that_nobody_waits_for_is_kept_at_the_end(place: AuditPlace) -> None:
    with open_audit(place) as log:
        for _ in range(3000):
            log.record(Refused(rule="privacy"))
    assert verify(place.path).head.seq == 3000


def test_threads_and_loops_share_one_chain(place: AuditPlace) -> None:
    async def on_a_loop(log: Any, name: str) -> None:
        calls = (kept(log, Refused(service=name), Deadline.after(30)) for _ in range(100))
        await asyncio.gather(*calls)

    def in_a_thread(log: Any, name: str) -> None:
        if name.endswith("0"):
            asyncio.run(on_a_loop(log, name))
            return
        for _ in range(100):
            log.record(Refused(service=name)).result(30)

    with open_audit(place) as log, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: in_a_thread(log, f"t{n}"), range(16)))
    assert verify(place.path).problem == ""
    assert Counter(entry["service"] for entry in entries(place)) == {
        f"t{n}": 100 for n in range(16)
    }


def test_one_fsync_serves_all_who_wait(place: AuditPlace, disk: Disk, until: Wait) -> None:
    with open_audit(place) as log:
        assert isinstance(log, AuditLog)
        disk.held.clear()
        first = log.record(Refused(service="first"))
        until(lambda: not log._waiting)
        rest = [log.record(Refused(service="rest")) for _ in range(500)]
        assert not first.done()  # the control: nothing counts before its fsync
        assert not any(future.done() for future in rest)
        disk.held.set()
        for future in [first, *rest]:
            future.result(10)
        assert (log.commits.entries, log.commits.commits) == (501, 2)


def test_a_call_that_was_given_up_is_not_written(
    place: AuditPlace, disk: Disk, until: Wait
) -> None:
    with open_audit(place) as log:
        assert isinstance(log, AuditLog)
        disk.held.clear()
        log.record(Refused(service="first"))
        until(lambda: not log._waiting)
        assert log.record(Refused(service="given up")).cancel()
        last = log.record(Refused(service="last"))
        disk.held.set()
        last.result(10)
    assert [entry["service"] for entry in entries(place)] == ["first", "last"]


def test_a_full_disk_turns_events_away_until_there_is_room(
    place: AuditPlace, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with open_audit(place) as log:
        assert isinstance(log, AuditLog)
        log.record(Refused(service="before")).result(10)
        disk.full = True
        for _ in range(3):
            with pytest.raises(AuditUnavailable):
                log.record(Refused(service="turned away")).result(10)
        assert not log.writable
        disk.full = False
        log.record(Refused(service="after")).result(10)
        assert log.writable
        assert log.commits.refused == 3
    kinds = [(entry["kind"], entry.get("service"), entry.get("count")) for entry in entries(place)]
    assert kinds == [("refused", "before", None), ("missed", None, 3), ("refused", "after", None)]
    assert verify(place.path).problem == ""
    records = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "isthmus.audit"]
    told = [(level, said) for level, said in records if "audit log" in said]
    assert [level for level, _ in told] == ["ERROR", "WARNING"]  # once, not for every event
    assert "No space left on device. Labelled calls are refused" in told[0][1]
    assert "free space on its disk, or give another file" in told[0][1]


LIMITED = """
import resource, sys
from pathlib import Path
from orchestrator.core.audit import Refused
from orchestrator.core.errors import AuditUnavailable
from orchestrator.telemetry.audit.log import AuditPlace, open_audit

_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, most))
with open_audit(AuditPlace(Path(sys.argv[1]))) as log:
    kept = refused = 0
    for _ in range(40):
        try:
            log.record(Refused(service="s")).result(10)
            kept += 1
        except AuditUnavailable:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    log.record(Refused(service="after")).result(10)
print(kept, refused)
"""


def test_a_file_that_may_not_grow_is_a_full_disk(place: AuditPlace) -> None:
    command = [sys.executable, "-c", LIMITED, str(place.path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    kept, refused = map(int, ended.stdout.split())
    assert kept + refused == 40
    assert kept > 1 < refused
    found = entries(place)
    assert [entry["kind"] for entry in found] == ["refused"] * kept + ["missed", "refused"]
    assert found[-2]["count"] == refused
    assert verify(place.path).problem == ""


def test_the_end_is_anchored_at_intervals(tmp_path: Path, until: Wait) -> None:
    place = AuditPlace(tmp_path / "audit.log", anchor=tmp_path / "anchor", anchor_seconds=0.02)
    assert place.anchor
    with open_audit(place) as log:
        for count in (1, 2):
            log.record(Refused()).result(10)
            until(partial(anchored_at, tmp_path / "anchor", count))
    anchored = place.anchor.stat().st_mtime_ns
    with open_audit(place):
        pass
    assert place.anchor.stat().st_mtime_ns == anchored  # nothing new to anchor


def test_a_long_interval_is_kept_to(place: AuditPlace, until: Wait) -> None:
    assert place.anchor
    anchor = place.anchor
    with open_audit(place) as log:
        log.record(Refused()).result(10)
        until(lambda: read_anchor(anchor).seq == 1)
        for _ in range(5):
            log.record(Refused()).result(10)
        assert read_anchor(anchor).seq == 1
    assert read_anchor(anchor).seq == 6


def test_an_anchor_that_cannot_be_written_is_told_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, until: Wait
) -> None:
    folder = tmp_path / "away"
    place = AuditPlace(tmp_path / "audit.log", anchor=folder / "anchor", anchor_seconds=0.001)
    with open_audit(place) as log:
        for _ in range(20):
            log.record(Refused()).result(10)
        until(lambda: "anchor" in caplog.text)
        folder.mkdir()
        until(lambda: (folder / "anchor").exists())
    assert caplog.text.count("cannot be written: No such file") == 1


def test_what_a_crash_left_is_cut_off_and_written_down(
    place: AuditPlace, write: Callable[[int], list[bytes]]
) -> None:
    lines = write(3)
    place.path.write_bytes(b"".join(lines) + b'{"call":"c')
    with open_audit(place):
        pass
    assert verify(place.path).problem == ""
    assert [(e["kind"], e.get("count")) for e in entries(place)[3:]] == [("cut", 10)]


def test_digests_need_the_key_of_the_log(tmp_path: Path) -> None:
    first, second = AuditPlace(tmp_path / "a.log"), AuditPlace(tmp_path / "b.log")
    with open_audit(first) as one, open_audit(second) as other:
        assert one.digest("x") == one.digest("x") != other.digest("x")
    assert default_key(first.path).exists()
    with open_audit(AuditPlace(tmp_path / "c.log", key=default_key(first.path))) as log:
        assert log.digest("x") == one.digest("x")


def test_after_its_end_and_in_a_fork_nothing_is_taken(
    place: AuditPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_audit(place) as log:
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: 0)
            with pytest.raises(AuditUnavailable):
                log.record(Refused()).result(10)
        log.record(Refused()).result(10)
    with pytest.raises(AuditUnavailable):
        log.record(Refused()).result(10)
    assert len(entries(place)) == 1


def test_reveals_are_told_to_the_log_of_the_program_as_well(
    place: AuditPlace, caplog: pytest.LogCaptureFixture
) -> None:
    with open_audit(place) as log:
        log.record(Revealed(reason="asked", label=Label(Level.SECRET))).result(10)
    assert "revealed a value labelled secret: asked" in caplog.text


def test_the_metrics_tell_how_long_entries_waited(place: AuditPlace) -> None:
    with open_audit(place) as log:
        futures: list[Future[None]] = [log.record(Refused()) for _ in range(10)]
        for future in futures:
            future.result(10)
        families = {family.name: family for family in log.metrics()}
        samples = families["isthmus_audit_commit_seconds"].samples
        counted = next(s.value for s in samples if s.name.endswith("_count"))
        assert (counted, families["isthmus_audit_entries"].samples[0].value) == (10, 10)


def test_one_process_opens_a_log_once(place: AuditPlace) -> None:
    with (
        open_audit(place),
        pytest.raises(SettingsError, match="another process"),
        open_audit(place),
    ):
        pass
    with open_audit(place):
        pass


async def test_all_of_a_group_end_in_one_turn_of_their_loop(
    place: AuditPlace, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, woken = asyncio.get_running_loop(), []
    wake = loop.call_soon_threadsafe
    with open_audit(place) as log:
        assert isinstance(log, AuditLog)
        disk.held.clear()
        first = log.record_here(Refused())
        while log._waiting:
            await asyncio.sleep(0.001)
        rest = [log.record_here(Refused()) for _ in range(50)]
        assert rest.pop().cancel()
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a: woken.append(wake(*a)))
        disk.held.set()
        await asyncio.gather(first, *rest)
    assert len(woken) == 2
    assert verify(place.path).head.seq == 50


async def test_a_loop_hears_that_the_disk_is_full(place: AuditPlace, disk: Disk) -> None:
    with open_audit(place) as log:
        disk.full = True
        with pytest.raises(AuditUnavailable):
            await log.record_here(Refused())
        disk.full = False
        await log.record_here(Refused())


def test_a_loop_that_was_closed_stops_nobody(place: AuditPlace, disk: Disk, until: Wait) -> None:
    async def leave(log: Any) -> None:
        log.record_here(Refused())

    with open_audit(place) as log:
        disk.held.clear()
        asyncio.run(leave(log))
        disk.held.set()
        log.record(Refused()).result(10)


async def test_a_slow_disk_does_not_stop_the_loop(place: AuditPlace, disk: Disk) -> None:
    with open_audit(place) as log:
        disk.held.clear()
        waiting = asyncio.create_task(kept(log, Refused(), Deadline.after(20)))
        for _ in range(20):  # the loop turns, and nothing is promised meanwhile
            await asyncio.sleep(0.001)
        assert not waiting.done()
        disk.held.set()
        await waiting
