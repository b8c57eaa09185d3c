from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.telemetry.audit.key import KEY_BYTES, load_key


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = load_key(path)
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == key
    assert load_key(tmp_path / "other.key") != key
    assert sorted(file.name for file in tmp_path.iterdir()) == ["audit.key", "other.key"]


def test_whoever_comes_at_the_same_time_gets_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: load_key(tmp_path / "audit.key"), range(64)))
    assert len(set(keys)) == 1


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_bytes(b"short")
    with pytest.raises(SettingsError, match="has 5 bytes, and needs 32"):
        load_key(tmp_path / "audit.key")


def test_a_key_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_key(tmp_path / "nowhere" / "audit.key")
