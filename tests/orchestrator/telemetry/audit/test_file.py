import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.entries import Cut, Head, facts_of, seal
from orchestrator.telemetry.audit.file import LogFile
from orchestrator.telemetry.audit.log import AuditPlace

Write = Callable[[int], list[bytes]]


def lines_after(head: Head, count: int) -> tuple[bytes, Head]:
    lines = b""
    for number in range(count):
        line, head = seal(facts_of(Cut(count=number)), "now", head)
        lines += line
    return lines, head


def test_a_new_file_is_for_its_owner_alone_and_empty(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "audit.log")
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600
    assert (file.head, file.cut, list(file.backwards())) == (Head(), 0, [])
    file.close()


def test_entries_are_found_again_from_the_last_one_on(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "audit.log")
    lines, head = lines_after(Head(), 1000)  # longer than one block
    file.append(lines)
    file.close()
    again = LogFile(tmp_path / "audit.log")
    assert again.head == head
    assert [entry.head.seq for entry in again.backwards()] == list(range(1000, 0, -1))
    again.close()


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("torn", [1, 100, 70_000])
def test_an_unfinished_line_is_cut_off(tmp_path: Path, kept: int, torn: int) -> None:
    path = tmp_path / "audit.log"
    lines, head = lines_after(Head(), kept)
    path.write_bytes(lines + b"x" * torn)
    file = LogFile(path)
    assert (file.head, file.cut) == (head, torn)
    file.close()
    assert path.read_bytes() == lines


def test_a_damaged_end_is_not_built_upon(write: Write, place: AuditPlace) -> None:
    *lines, last = write(3)
    place.path.write_bytes(b"".join(lines) + last.replace(b"s2", b"s9"))
    with pytest.raises(SettingsError, match="last entry of audit log .* is damaged.*verify"):
        LogFile(place.path)


def test_a_second_process_is_told_to_take_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    code = (
        "import sys, pathlib\nfrom orchestrator.telemetry.audit.file import LogFile\n"
        "LogFile(pathlib.Path(sys.argv[1]))\nprint('open')"
    )
    command = [sys.executable, "-c", code, str(path)]
    file = LogFile(path)
    told = subprocess.run(command, capture_output=True, text=True)
    assert "another process: give each a file of its own" in told.stderr
    file.close()
    assert subprocess.run(command, capture_output=True, text=True).stdout == "open\n"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be opened: No such file"):
        LogFile(tmp_path / "nowhere" / "audit.log")


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    file = LogFile(path)
    first, head = lines_after(Head(), 2)
    file.append(first)
    second, _ = lines_after(head, 2)
    sync = os.fsync

    def half(descriptor: int, data: Any) -> int:
        if len(data) < len(second):
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:10])

    write = os.write
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        file.append(second)
    assert path.read_bytes() == first
    monkeypatch.setattr(os, "write", write)

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        file.append(second)
    assert path.read_bytes() == first
    monkeypatch.setattr(os, "fsync", sync)
    file.append(second)
    assert path.read_bytes() == first + second
    file.close()


def test_what_could_not_be_taken_back_at_once_is_before_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    file = LogFile(path)
    lines, _ = lines_after(Head(), 1)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        patched.setattr(os, "ftruncate", broken)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                file.append(lines)
    file.append(lines)
    assert path.read_bytes() == lines
    file.close()


@pytest.mark.parametrize("spoil", ["move", "cut", "write"])
def test_a_file_that_somebody_moved_or_changed_is_not_written(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "audit.log"
    file = LogFile(path, check_seconds=0.0)
    lines, head = lines_after(Head(), 2)
    file.append(lines)
    if spoil == "move":
        path.rename(tmp_path / "gone")
        path.write_bytes(lines)
    else:
        path.write_bytes(lines[:-1] if spoil == "cut" else lines + b"x")
    more, _ = lines_after(head, 1)
    with pytest.raises(OSError, match="somebody moved, cut or wrote"):
        file.append(more)
    file.close()
