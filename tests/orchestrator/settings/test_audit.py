from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.core.errors import SettingsError
from orchestrator.settings.audit import AuditSettings
from orchestrator.settings.caller import Settings, load_settings


def test_nothing_is_kept_unless_a_path_is_given() -> None:
    assert Settings().audit == AuditSettings()
    assert AuditSettings().path is None


def test_a_file_says_where_the_log_is(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.yaml"
    file.write_text("audit: {path: audit.log, anchor: /mnt/anchor.json, anchor_seconds: 5}")
    found = load_settings(file).audit
    assert (found.path, found.anchor) == (Path("audit.log"), Path("/mnt/anchor.json"))
    assert found.anchor_seconds == 5


def test_the_environment_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_AUDIT__PATH", "audit.log")
    assert load_settings().audit.path == Path("audit.log")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"anchor": "a"}, "give its path, too"),
        ({"key": "k"}, "give its path, too"),
        ({"path": "a", "anchor": "a"}, "three different files"),
        ({"path": "a", "key": "a"}, "three different files"),
        ({"path": "a", "anchor_seconds": 0}, "greater than 0"),
        ({"path": "a", "ancor": "b"}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_an_error(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AuditSettings(**given)


def test_a_misspelt_key_is_named() -> None:
    with pytest.raises(SettingsError, match="did you mean anchor"):
        load_settings(given={"audit": {"path": "a", "ancor": "b"}})
