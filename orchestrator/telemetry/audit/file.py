"""The file of the log: opened to append, by one process, and mended after a crash."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.entries import Damaged, Entry, Head, unseal

_BLOCK = 64 * 1024


class LogFile:
    """A file that grows by whole groups of lines, each of them safe or not there at all.

    Args:
        path: The file; it is made if it is not there, for its owner alone.
        check_seconds: How often to look whether somebody moved or changed it.

    Attributes:
        head: Where the chain in it ended when it was opened.
        cut: The bytes of an unfinished line that were taken away then.

    Raises:
        SettingsError: It cannot be opened, another process writes it, or its last entry is
            damaged.
    """

    def __init__(self, path: Path, check_seconds: float = 1.0) -> None:
        self.path = path
        self._check_seconds = check_seconds
        self._checked_at = 0.0
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(
                f"audit log {path} cannot be opened: {error.strerror}; give a file in a folder "
                "that this process may write to"
            ) from None
        self._unsure = False
        try:
            self._lock()
            self._size, self.cut = self._mended()
            self.head = self._last()
            _sync_folder(path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, lines: bytes) -> None:
        """Write lines and wait until the disk has them; raise OSError, and keep none, if not."""
        if self._unsure:
            self._take_back()
        self._check_place()
        self._unsure = True
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError:
            with suppress(OSError):
                self._take_back()
            raise
        self._unsure = False
        self._size += len(lines)

    def backwards(self) -> Iterator[Entry]:
        """Yield the entries from the last one on.

        Raises:
            Damaged: One is damaged.
        """
        end, rest = self._size, b""
        while end or rest:
            while end and b"\n" not in rest[:-1]:
                start = max(end - _BLOCK, 0)
                rest = os.pread(self._descriptor, end - start, start) + rest
                end = start
            place = rest.rfind(b"\n", 0, -1) + 1
            yield unseal(rest[place:])
            rest = rest[:place]

    def close(self) -> None:
        """Let others write the file."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        import fcntl  # of Unix alone

        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"audit log {self.path} is written by another process: give each a file of its own"
            ) from None

    def _mended(self) -> tuple[int, int]:
        """Take an unfinished last line away; return the file's size and that of the line."""
        size = end = os.fstat(self._descriptor).st_size
        while end:
            start = max(end - _BLOCK, 0)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)
            os.fsync(self._descriptor)
        return end, size - end

    def _last(self) -> Head:
        try:
            return next((entry.head for entry in self.backwards()), Head())
        except Damaged:
            raise SettingsError(
                f"the last entry of audit log {self.path} is damaged: keep the file, see `isthmus "
                "audit verify`, and give a new one"
            ) from None

    def _take_back(self) -> None:
        """Cut off what was perhaps written by a write that failed."""
        os.ftruncate(self._descriptor, self._size)
        self._unsure = False

    def _check_place(self) -> None:
        """Raise OSError if the path names another file by now, or somebody changed its size."""
        if (now := time.monotonic()) < self._checked_at + self._check_seconds:
            return
        ours = os.fstat(self._descriptor)
        if not os.path.samestat(ours, os.stat(self.path)) or ours.st_size != self._size:
            raise OSError(0, "somebody moved, cut or wrote the file")
        self._checked_at = now


def _sync_folder(folder: Path) -> None:
    """Make a new file's name safe, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
