import pytest

from orchestrator.privacy.recognisers.context import is_near, word_pattern


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("BSN 123", True),
        ("bsn: 123", True),
        ("123 (my bsn)", True),
        ("absn 123", False),
        ("bsn" + " " * 80 + "123", False),
        ("123" + " " * 80 + "bsn", False),
        ("no_bsn_123", True),
    ],
)
def test_a_word_is_near_if_it_is_whole_and_close(text: str, near: bool) -> None:
    start = text.index("123")
    assert is_near(word_pattern("bsn"), text, start, start + 3) is near
