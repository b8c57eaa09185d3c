from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.settings.caller import Settings
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
