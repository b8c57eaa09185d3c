"""The key of the log's digests: a file of random bytes, for its owner alone."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from orchestrator.core.errors import SettingsError

KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """Return the key in a file, which is made if it is not there.

    Raises:
        SettingsError: It can be neither read nor made, or is too short.
    """
    try:
        with suppress(FileExistsError):
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"audit key {path} cannot be read: {error.strerror}; give a file in a folder that this "
            "process may write to"
        ) from None
    if len(key) < KEY_BYTES:
        raise SettingsError(
            f"audit key {path} has {len(key)} bytes, and needs {KEY_BYTES}: give another file, or "
            "remove it to have a new key made"
        )
    return key


def _make(path: Path) -> None:
    """Write a new key; whoever looks sees all of it or no file, also if two processes do it."""
    if path.exists():
        return
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
        os.link(beside, path)
    finally:
        os.close(descriptor)
        os.unlink(beside)
