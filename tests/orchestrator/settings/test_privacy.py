from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.settings.caller import load_settings
from orchestrator.settings.privacy import PrivacySettings


def test_without_a_word_all_recognisers_are_used() -> None:
    assert PrivacySettings() == PrivacySettings(recognisers=(), patterns={}, words={})


def test_recognisers_patterns_and_words_are_read(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.yaml"
    file.write_text(
        "privacy: {recognisers: [email], patterns: {case: 'K-[0-9]+'}, words: {name: [Ada, Bob]}}"
    )
    read = load_settings(file).privacy
    assert read.recognisers == ("email",)
    assert read.patterns == {"case": "K-[0-9]+"}
    assert read.words == {"name": ("Ada", "Bob")}


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="recognizers"):
        load_settings(given={"privacy": {"recognizers": ["email"]}})
