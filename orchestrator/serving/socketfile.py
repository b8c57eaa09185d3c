"""The file of a node's Unix socket: claimed from a dead node, never from a living one."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.core.errors import SettingsError
from orchestrator.settings.nodes import check_socket

_OWNER_ALONE = 0o177


class SocketFile:
    """Where a node listens for callers on its own machine.

    Args:
        path: The path; what its folder lets others do, they can do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: tuple[int, int] | None = None

    @property
    def address(self) -> str:
        """The address as gRPC reads it."""
        return f"unix:{self.path}"

    def check(self) -> None:
        """Raise SettingsError if a node cannot listen there."""
        try:
            check_socket(str(self.path))
        except ValueError as error:
            raise SettingsError(f"--socket: {error}") from None
        if not self.path.parent.is_dir():
            raise SettingsError(f"there is no folder {self.path.parent} for --socket: make it")
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise SettingsError(f"cannot look at {self.path}: {error.strerror}") from error
        if not stat.S_ISSOCK(mode):
            raise SettingsError(
                f"{self.path} is there and is no socket: give --socket another path"
            )
        if self._answers():
            raise SettingsError(
                f"somebody listens on {self.path}: end that node, or give --socket another path"
            )

    @contextmanager
    def making(self) -> Iterator[None]:
        """Let the block make the file, for this user alone; what a dead node has left is removed.

        Raises:
            SettingsError: A node cannot listen there.
        """
        self.check()
        before = os.umask(_OWNER_ALONE)
        try:
            self.path.unlink(missing_ok=True)
            yield
            self._made = self._found()
        except OSError as error:
            raise SettingsError(f"cannot make {self.path}: {error.strerror}") from error
        finally:
            os.umask(before)

    def remove(self) -> None:
        """Remove the file, unless it is another node's by now."""
        with suppress(OSError):
            if self._made is not None and self._found() == self._made:
                self.path.unlink()

    def _found(self) -> tuple[int, int]:
        found = self.path.lstat()
        return found.st_dev, found.st_ino

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                return False
            except OSError:
                return True  # nobody can say, so nothing is taken away
        return True
