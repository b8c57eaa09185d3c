"""The anchor: a file elsewhere that remembers where the chain ended, so that a cut shows."""

import json
import os
from pathlib import Path

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.entries import Damaged, Head
from orchestrator.telemetry.audit.file import LogFile


def read_anchor(path: Path) -> Head:
    """Return the head that an anchor holds, that of an empty chain if there is no file.

    Raises:
        SettingsError: It cannot be read, or is no anchor.
    """
    try:
        found = json.loads(path.read_bytes())
        return Head(int(found["seq"]), str(found["hash"]))
    except FileNotFoundError:
        return Head()
    except OSError as error:
        raise SettingsError(f"audit anchor {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"{path} is no anchor of an audit log") from None


def write_anchor(path: Path, head: Head, time: str) -> None:
    """Replace an anchor at once and for good; raise OSError if it cannot be written."""
    text = json.dumps({"seq": head.seq, "hash": head.hash, "time": time}) + "\n"
    beside = path.with_name(f".{path.name}.new")
    with open(beside, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def check_anchor(path: Path, file: LogFile) -> None:
    """Compare a log with its anchor before anything is added to it.

    Raises:
        SettingsError: The log does not hold the entry that the anchor remembers.
    """
    anchored = read_anchor(path)
    if anchored.seq == 0:
        return
    held: Head | None = None
    try:
        heads = (entry.head for entry in file.backwards())
        held = next((head for head in heads if head.seq <= anchored.seq), None)
    except Damaged:
        pass
    if held != anchored:
        raise SettingsError(
            f"audit log {file.path} does not hold entry {anchored.seq} as anchor {path} remembers "
            "it: keep both files, see `isthmus audit verify`, and give a new log and anchor"
        )
