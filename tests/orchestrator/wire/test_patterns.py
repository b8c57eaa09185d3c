import pytest

from orchestrator.wire.patterns import PatternScanner

SCANNER = PatternScanner({"badge": r"badge-\d{4}", "code name": "rosebud"})


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"text":"see badge-0815"}', "badge"),
        (b'{"text":"BADGE-0815"}', "badge"),
        (b"\0\0Rosebud\xff", "code name"),
        (b'{"text":"badge-"}', None),
        (b"", None),
    ],
)
def test_a_pattern_is_found_by_its_name_in_any_case(data: bytes, found: str | None) -> None:
    assert SCANNER.find(data) == found
