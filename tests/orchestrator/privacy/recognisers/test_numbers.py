import pytest

from orchestrator.privacy.recognisers.numbers import compact, shaped

THREE = shaped("[0-9]", "[0-9]", "[0-9]")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("123", ["123"]),
        ("1 2-3", ["1 2-3"]),
        ("1\n> 23", ["1\n> 23"]),
        ("a 123, 456.", ["123", "456"]),
        ("1234", []),
        ("a123", []),
        ("123a", []),
        ("1 2 3 4", ["1 2 3", "2 3 4"]),
        ("10:123", []),
        ("1    23", []),
    ],
)
def test_a_number_is_found_in_any_groups_and_at_every_start(text: str, numbers: list[str]) -> None:
    found = [text[match.start() : match.end("number")] for match in THREE.finditer(text)]
    assert [number for number in found if compact(number) in map(compact, numbers)] == numbers
    assert len(found) == len(numbers)


def test_only_digits_and_letters_are_compared_in_capitals() -> None:
    assert compact("x-1234567 l") == "X1234567L"
