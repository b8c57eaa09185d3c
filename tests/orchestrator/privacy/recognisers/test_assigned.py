import pytest

from orchestrator.privacy.recognisers.assigned import AssignedSecretRecogniser


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in AssignedSecretRecogniser().find(text)]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("api_key = a8f5f167f44f4964e6c998dee827110c", "a8f5f167f44f4964e6c998dee827110c"),
        ("API_KEY=Zx81kLm02QpR", "Zx81kLm02QpR"),
        ('"clientSecret": "Zx81kLm02QpR",', "Zx81kLm02QpR"),
        ("auth_token: 'Zx81kLm02QpR'", "Zx81kLm02QpR"),
        ("password: hunter2!", "hunter2"),
        ("The password is correct-Horse7.", "correct-Horse7"),
        ("Passwort: Geheim123", "Geheim123"),
        ("db.password=>'x9$kk2Lq'", "x9$kk2Lq"),
        ("token=Zx81kLm02QpR&page=2", "Zx81kLm02QpR&page=2"),
    ],
)
def test_what_is_assigned_to_a_secret_name_is_found(text: str, secret: str) -> None:
    assert written_in(text) == [secret]


@pytest.mark.parametrize(
    "text",
    [
        "the password is wrong",
        "password: Required.",
        "The key is to be patient.",
        "the secret is good preparation",
        "key: value",
        "primary key = id",
        "token expired",
        "monkey = banana",
        "The secret is out!",
        "key = Fernet.generate_key()",
        "tokens = md.parse(text1)",
    ],
)
def test_words_of_a_sentence_are_no_secrets(text: str) -> None:
    assert written_in(text) == []
