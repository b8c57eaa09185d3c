import pytest

from orchestrator.privacy.recognisers.keys import ApiKeyRecogniser
from orchestrator.privacy.redact import redact

# None of them opens anything: they are put together here, so that no scanner stumbles over them.
KEYS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "11ABCDEFG0" * 3,
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "xoxb-" + "123456789012-123456789012-" + "aB1" * 8,
    "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "rk_test_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "AIza" + "Sy1" * 11 + "ab",
    "sk-proj-" + "a1B2" * 10,
    "SG." + "a1" * 11 + "." + "b2C" * 14 + "d",
    "npm_" + "a1B2" * 9,
    "hf_" + "aB1" * 11 + "c",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9." + "SflKxwRJSMeKKF2QT4",
]
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc+/=\n-----END RSA PRIVATE KEY-----"


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in ApiKeyRecogniser().find(text)]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_known_form_is_found_whole(key: str) -> None:
    assert key in written_in(f"use '{key}', it works")
    assert redact(f"use {key}, it works").text == "use [API_KEY], it works"


@pytest.mark.parametrize("key", KEYS)
def test_its_case_its_width_and_a_line_break_do_not_hide_it(key: str) -> None:
    wide = "".join(chr(ord(sign) + 0xFEE0) if sign != " " else sign for sign in key)
    for written in (key.swapcase(), wide, f"{key[:7]}\n{key[7:]}", "\u200b".join(key)):
        assert redact(written).text == "[API_KEY]"


def test_what_comes_after_bearer_is_found() -> None:
    assert written_in("Authorization: Bearer abc.DEF-123_xyz456") == ["abc.DEF-123_xyz456"]
    assert written_in("the bearer of good news is here") == []


def test_a_private_key_is_found_with_its_frame_even_if_its_end_is_missing() -> None:
    assert redact(f"see\n{PEM}\nok").text == "see\n[API_KEY]\nok"
    assert redact(PEM.partition("-----END")[0]).text == "[API_KEY]"


@pytest.mark.parametrize(
    "text",
    [
        "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334",
        "9533dbea-4191-8131-2371-2e1bd05677f2",
        "sk-learn is a library",
        "-----BEGIN PUBLIC KEY-----",
        "task_live_in_the_house",
    ],
)
def test_hashes_names_and_public_keys_are_no_secrets(text: str) -> None:
    assert written_in(text) == []
