import pytest

from orchestrator.privacy.recognisers.urls import UrlCredentialsRecogniser
from orchestrator.privacy.redact import redact


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in UrlCredentialsRecogniser().find(text)]


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:s3cret@example.com/path?x=1",
        "postgres://shop:p@ss@db.example.com:5432/orders",
        "redis://:s3cret@10.0.0.1:6379/0",
        "mongodb+srv://ada:s3cret@cluster.example.net",
        "HTTPS://ADA:S3CRET@EXAMPLE.COM",
    ],
)
def test_an_address_with_a_password_is_found_whole(url: str) -> None:
    assert written_in(f'open "{url}" now') == [url]
    assert redact(f"open {url}, now").text == "open [URL_CREDENTIALS], now"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/path",
        "https://example.com:8080/path@2x.png",
        "ada@example.com:secret",
        "https://ada@example.com",
        "note: see http://x and mail ada:b@c",
    ],
)
def test_an_address_without_a_password_is_not_found(text: str) -> None:
    assert written_in(text) == []
