import time
from itertools import pairwise

import pytest

from orchestrator.privacy.tokens import (
    ALPHABET,
    Found,
    begins_at,
    is_code,
    kind_written,
    longest,
    next_token,
    strangers,
    widened,
    written,
)

KINDS = ["EMAIL", "CARD", "LITERAL", "PHONE", "IBAN"]
CODE = "7F3K9QXC"


def test_the_alphabet_has_nothing_that_is_mistaken_for_something_else() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 21
    assert not set("01OIL") & set(ALPHABET)
    assert not set("AEIOU") & set(ALPHABET)  # no words
    assert not set("NRT") & set(ALPHABET)  # no line breaks in JSON
    assert not set("5S2Z8B6G") - set("2568") & set(ALPHABET)


def test_a_code_has_a_letter_and_a_digit_so_that_no_word_and_no_number_is_one() -> None:
    assert is_code(CODE)
    assert not is_code("22345678")
    assert not is_code("CDFHJKMP")


@pytest.mark.parametrize(
    ("kind", "as_written"),
    [
        ("email", "EMAIL"),
        ("api_key", "APIKEY"),
        ("id 2", "ID"),
        ("7", "VALUE"),
        ("\u0438\u043c\u044f", "VALUE"),
    ],
)
def test_a_kind_is_written_in_plain_capitals(kind: str, as_written: str) -> None:
    assert kind_written(kind) == as_written
    assert len(kind_written(kind * 40)) <= 24


@pytest.mark.parametrize(
    "text",
    [
        f"EMAIL_{CODE}",
        "email_7f3k9qxc",
        f"EMAIL_{CODE}'s",
        f"EMAIL_{CODE}\u2019s",
        f"**EMAIL_{CODE}**",
        f"_EMAIL_{CODE}_",
        f"`EMAIL_{CODE}`",
        f"EMAIL\\_{CODE}",
        f"EMAIL\\u005f{CODE}",
        f'"one\\nEMAIL_{CODE}\\n"',
        f"a%20EMAIL_{CODE}",
        "EMAIL_7F3K-\n   9QXC",
        "EMAIL_7F3K\r\n> 9QXC",
        "EMAIL_7F3K\\n9QXC",
        "E\u00adMAIL_7F3K\u200b9QXC",
        "EMAIL\u00a07F3K\u20099QXC",
        "EMAIL-7F3K-9QXC",
        f"EMAIL{CODE}",
        f"\u9023\u7d61\u5148EMAIL_{CODE}\u3067\u3059",
        f"foo_EMAIL_{CODE}_bar",
        f"(EMAIL_{CODE}).",
    ],
)
def test_a_token_is_found_however_it_was_changed(text: str) -> None:
    found = next_token(text, KINDS)
    assert found
    assert (found.kind, found.code, found.spelling) == ("EMAIL", CODE, 1)
    assert text[found.start : found.end].upper().startswith("E")


@pytest.mark.parametrize(
    "text",
    [
        f"XEMAIL_{CODE}",
        f"EMAIL_{CODE}A",
        f"EMAIL_{CODE[:-1]}",
        "EMAIL_7F3K9QX\u00c7",
        f"EMA1L_{CODE}",
        f"EMAIL: {CODE}",
        "\uff25\uff2d\uff21\uff29\uff2c_7F3K9QXC",
        "EMAIL_7F3\u212a9QXC",
    ],
)
def test_what_only_resembles_a_token_is_none(text: str) -> None:
    assert next_token(text, KINDS) is None


def test_the_number_behind_a_code_is_part_of_the_token() -> None:
    assert next_token(written("CARD", CODE, 12), KINDS) == Found(0, 15, "CARD", CODE, 12)
    assert written("CARD", CODE) == f"CARD_{CODE}"
    cut = next_token(f"CARD_{CODE} 2 cards", KINDS)
    assert cut
    assert cut.spelling == 1


def test_of_two_kinds_that_begin_alike_the_longer_one_is_read() -> None:
    found = next_token(f"IDCX_{CODE}", ["ID", "IDCX"])
    assert found
    assert found.kind == "IDCX"


def test_a_stranger_has_any_kind_and_some_code() -> None:
    text = f"NAME_{CODE} EMAIL_7F3 snake_case utf_8 EMAIL_ADDRESS"
    assert [(text[f.start : f.end], f.code) for f in strangers(text)] == [
        (f"NAME_{CODE}", CODE),
        ("EMAIL_7F3", ""),
    ]


def test_a_place_is_widened_to_where_a_token_would_have_its_borders() -> None:
    assert widened("xa@b.c9 y", 1, 6) == (0, 7)
    assert widened("\\na@b.c", 2, 7) == (2, 7)
    assert widened("_a@b.c_", 1, 6) == (1, 6)


def test_every_beginning_of_a_token_may_go_on_and_a_bounded_token_does_not() -> None:
    text = "see EMAIL\\u005f7F3K-\n9QXC12"
    assert {begins_at(text[:end], KINDS) for end in range(5, len(text) + 1)} == {4}
    assert begins_at(f"see EMAIL_{CODE}.", KINDS) is None
    assert begins_at("done", KINDS) is None
    assert begins_at("done e", []) is None


def test_no_token_is_longer_than_it_says() -> None:
    wide = ("\\n" * 12).join(CODE)
    token = ("\\n" * 12).join("EMAIL") + "\\u005f" * 12 + wide + "999999"
    found = next_token(token, KINDS)
    assert found
    assert found.end == len(token) <= longest(["EMAIL"])


HOSTILE = [
    "EMAIL_", "E", "EMAIL_22222222", "E   ", "CARD C", "EMAIL_2F-\n", "a_1", "\\n", "E\\n", "_",
    "EMAI" + "\\n" * 12, "EMAIL_" + "2 " * 7, "C", "2 ", "CARD_2C" + "\u00ad" * 11, "%20",
    "\\u005f",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_the_search_takes_time_in_line_with_the_length_whatever_the_text(part: str) -> None:
    def seconds(length: int) -> float:
        text, start = part * (length // len(part)), 0
        began = time.process_time()
        while found := next_token(text, KINDS, start):
            start = found.start + 1
        assert sum(1 for _ in strangers(text)) <= length
        begins_at(text[-longest(KINDS) :], KINDS)
        return time.process_time() - began

    taken = [min(seconds(length) for _ in range(3)) for length in (10_000, 20_000, 40_000, 80_000)]
    # Were it quadratic, each doubling would take four times as long.
    assert taken[-1] < 24 * max(taken[0], 1e-3), list(pairwise(taken))
