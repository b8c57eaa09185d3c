from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.core.errors import SettingsError
from orchestrator.settings.caller import Settings, load_settings
from orchestrator.settings.privacy import PrivacySettings


def test_without_a_word_reveal_is_audited_and_nothing_is_scanned() -> None:
    privacy = Settings().privacy
    assert (privacy.reveal, privacy.scan) == ("audited", {})


def test_reveal_may_be_forbidden_and_patterns_named() -> None:
    privacy = PrivacySettings.model_validate({"reveal": "forbidden", "scan": {"badge": r"b-\d+"}})
    assert (privacy.reveal, privacy.scan) == ("forbidden", {"badge": r"b-\d+"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reveal": "yes"}, "'audited' or 'forbidden'"),
        ({"scan": {"badge": "("}}, "no regular expression"),
        ({"scans": {}}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_names_what_is_wrong(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PrivacySettings.model_validate(given)


def test_without_a_word_all_recognisers_are_used() -> None:
    privacy = PrivacySettings()
    assert (privacy.recognisers, privacy.patterns, privacy.words) == ((), {}, {})


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
