from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.sources import load_file

GOOD = """
tokens: {keys: keys.json, audience: cloud-1.example}
roles:
  inbox: {invoke: ["embed*"], calls_per_second: 100, burst: 200, concurrency: 32}
  operator: {metrics: true, manage_models: true, describe: false}
identities:
  inbox.example: [inbox]
  spiffe://prod.example/ops: [operator, inbox]
"""


def load(tmp_path: Path, text: str) -> AccessSettings:
    path = tmp_path / "access.yaml"
    path.write_text(text)
    return load_file(AccessSettings, path)


def test_a_file_says_who_has_which_roles(tmp_path: Path) -> None:
    access = load(tmp_path, GOOD)
    assert access.identities["spiffe://prod.example/ops"] == ("operator", "inbox")
    assert access.roles["inbox"].invoke == ("embed*",)
    assert access.tokens
    assert access.tokens.algorithms == ("EdDSA", "ES256", "RS256")
    assert access.tokens.need_certificate


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("burst", "brust", r"roles\.inbox.*did you mean burst\?|unknown key 'brust'"),
        ("identities:", "identity:", "did you mean identities"),
        ("[inbox]", "[inbx]", "there is no role inbx: add it to roles"),
        ("calls_per_second: 100, ", "", "burst is that of calls_per_second"),
        ("concurrency: 32", "concurrency: 0", "greater than or equal to 1"),
        ("calls_per_second: 100", "calls_per_second: 0", "greater than 0"),
        ("keys: keys.json, ", "", "keys"),
        ("audience: cloud-1.example", 'audience: ""', "at least 1"),
        ("audience: c", "algorithms: [HS256], audience: c", "EdDSA"),
        ("audience: c", "algorithms: [none], audience: c", "EdDSA"),
        ("audience: c", "algorithms: [], audience: c", "at least 1"),
        ("tokens: {keys: keys.json, audience: cloud-1.example}", "metrics_need_token: true",
         "metrics_need_token needs tokens"),
        (GOOD, "", "roles"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_it_is_told_with_the_cure(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert load(tmp_path, GOOD).tokens  # the control
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, GOOD.replace(old, new))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no settings file .*access\.yaml"):
        load_file(AccessSettings, tmp_path / "access.yaml")


@pytest.mark.parametrize("file", ["[1]", "text", "{1: 2}", "a: [", "\x00"])
def test_a_file_without_settings_is_refused(file: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load(tmp_path, file)
