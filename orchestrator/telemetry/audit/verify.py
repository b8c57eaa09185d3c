"""Whether a log is whole: the first entry that is not, and what is wrong with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.entries import Damaged, Entry, Head, unseal


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a log.

    Attributes:
        head: The last entry up to which all is well.
        problem: What is wrong after it: "changed", "removed", "reordered", "truncated",
            "replaced"; empty if nothing is.
        entry: The number of the first bad entry; 0 if there is none.
        detail: The same in a sentence.
        unfinished: The bytes of a last line without an end: of a write under way, or a crash.
    """

    head: Head
    problem: str = ""
    entry: int = 0
    detail: str = ""
    unfinished: int = 0


_STEP = 2**20
"""Bytes between two words on progress."""


def _nobody(done: int) -> None:
    """Tell nobody."""


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a log, each with its end; raise SettingsError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            yield from file
    except OSError as error:
        raise SettingsError(f"audit log {path} cannot be read: {error.strerror}") from None


def verify(
    path: Path, anchored: Head | None = None, told: Callable[[int], object] = _nobody
) -> Finding:
    """Check every entry of a log, its place in the chain, and its anchor.

    A chain alone cannot tell that its end was cut off, or that all of it was written anew:
    only the anchor can.

    Args:
        path: The log.
        anchored: The head that its anchor holds.
        told: Is told of so many more bytes that are done.

    Raises:
        SettingsError: The file cannot be read.
    """
    head, unfinished, kept, done = Head(), 0, Head(), 0
    for line in read_lines(path):
        if not line.endswith(b"\n"):
            unfinished = len(line)
            break
        try:
            entry = unseal(line)
        except Damaged as error:
            where = head.seq + 1
            return Finding(head, "changed", where, f"entry {where} was changed: {error}")
        if entry.head.seq != head.seq + 1:
            return _misplaced(path, head, entry)
        if entry.previous != head.hash:
            where = head.seq + 1
            return Finding(
                head, "replaced", where,
                f"entry {where} does not follow entry {head.seq}: one of them was replaced",
            )  # fmt: skip
        head = entry.head
        if anchored and head.seq == anchored.seq:
            kept = head
        done += len(line)
        if done >= _STEP:
            told(done)
            done = 0
    told(done)
    return _against_anchor(Finding(head, unfinished=unfinished), kept, anchored)


def _misplaced(path: Path, head: Head, found: Entry) -> Finding:
    """Return what happened to the entry that should stand where another one was found."""
    missing = head.seq + 1
    if any(_number(line) == missing for line in read_lines(path)):
        said = f"entry {missing} was moved: entry {found.head.seq} stands in its place"
        return Finding(head, "reordered", missing, said)
    if found.head.seq <= head.seq:
        said = f"entry {found.head.seq} stands a second time where entry {missing} should be"
        return Finding(head, "reordered", missing, said)
    last = found.head.seq - 1
    which = f"entry {missing} was" if last == missing else f"entries {missing} to {last} were"
    return Finding(head, "removed", missing, f"{which} removed")


def _number(line: bytes) -> int:
    try:
        return unseal(line).head.seq
    except Damaged:
        return 0


def _against_anchor(found: Finding, kept: Head, anchored: Head | None) -> Finding:
    if anchored is None or anchored.seq == 0 or kept == anchored:
        return found
    if anchored.seq > found.head.seq:
        said = (
            f"the log ends with entry {found.head.seq}, its anchor remembers entry {anchored.seq}"
        )
        where = found.head.seq + 1
        return Finding(found.head, "truncated", where, f"the log was truncated: {said}")
    said = (
        f"entry {anchored.seq} is not the one that the anchor remembers: the log was written anew"
    )
    return Finding(found.head, "replaced", anchored.seq, said)
