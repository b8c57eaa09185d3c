"""Pseudonym tokens such as EMAIL_7F3K9QXC: how they are written, and found again in any text.

The alphabet of codes has no letters that are mistaken for others or for digits, no vowels (no
words), and no N, R or T (the line breaks of JSON). Each code has a letter and a digit, so that
neither a word nor a number looks like one. A number behind the code tells spellings apart.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

ALPHABET = "23456789CDFHJKMPQVWXY"
CODE_LENGTH = 8
"""Letters of a code: 21 ** 8 are 38 thousand million codes."""

LITERAL = "LITERAL"
"""The kind of what looks like a token in a text, and is none."""

CONTEXT = 8
"""How many letters before a token can matter to where it begins."""

_LONGEST_KIND = 24
_SPACES = r"\s\u00a0\u2000-\u200a\u2028\u2029\u202f\u3000"
_SOFT = r"\u00ad\u200b-\u200d\u2060\ufeff"
_BETWEEN = rf"{_SPACES}{_SOFT}\u2010\u2011>\\-"
# What comes between the letters of a token when a text is wrapped, escaped or typeset anew.
_GAP = rf"(?:\\[nrt]|[{_BETWEEN}]){{0,12}}"
_MIDDLE = rf"(?:\\[nrt]|\\u005f|[_{_BETWEEN}]){{0,12}}"
# A token begins after no letter or digit, unless that ends an escape of JSON or of a URL.
_LEFT = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
_RIGHT = r"(?![A-Za-z0-9])"
_LETTER = f"[{ALPHABET}]"
_CODE = _GAP.join([_LETTER] * CODE_LENGTH)
_SPELLING = "(?:[1-9][0-9]{0,5})?"
_FLAGS = re.IGNORECASE | re.ASCII

_BORDER = re.compile(_LEFT, _FLAGS)
_STRANGER = re.compile(
    rf"{_LEFT}([A-Z]{{2,{_LONGEST_KIND}}})\\?_(?=[A-Z]*[0-9])([A-Z0-9]{{2,16}}){_RIGHT}", _FLAGS
)
_SHAPE = re.compile(rf"({_LETTER}{{{CODE_LENGTH}}}){_SPELLING}", _FLAGS)
_ESCAPE = re.compile(r"\\[nrt]|\\u005f", _FLAGS)


@dataclass(frozen=True, slots=True)
class Found:
    """What looks like a token in a text, from `start` up to `end`.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        kind: Its kind, in capitals.
        code: Its code, in capitals; empty if it has no code's length.
        spelling: The number behind the code; 1 if there is none.
    """

    start: int
    end: int
    kind: str
    code: str
    spelling: int = 1


def written(kind: str, code: str, spelling: int = 1) -> str:
    """Return a token as it is handed out."""
    return f"{kind}_{code}{spelling if spelling > 1 else ''}"


def kind_written(kind: str) -> str:
    """Return a kind as tokens bear it: its letters in capitals, or VALUE if it has too few."""
    letters = re.sub("[^A-Z]", "", kind.upper())[:_LONGEST_KIND]
    return letters if len(letters) > 1 else "VALUE"


def is_code(code: str) -> bool:
    """Say whether letters of the alphabet are a code: they have a letter and a digit."""
    return not code.isalpha() and not code.isdigit()


def next_token(text: str, kinds: Iterable[str], start: int = 0) -> Found | None:
    """Return the first place that reads as a token of one of these kinds, however it is wrapped.

    What it finds need not be a token that was handed out; a real one may begin inside of it.

    Args:
        text: Any text.
        kinds: Kinds as they are written.
        start: Where to begin.
    """
    pattern = _tolerant(frozenset(kinds))
    match = pattern.search(text, start) if pattern else None
    if match is None:
        return None
    kind, code, spelling = match.group("kind", "code", "spelling")
    kind = "".join(filter(str.isalpha, _ESCAPE.sub("", kind))).upper()
    code = "".join(letter for letter in _ESCAPE.sub("", code).upper() if letter in ALPHABET)
    return Found(*match.span(), kind, code if is_code(code) else "", int(spelling or 1))


def strangers(text: str, start: int = 0, end: int | None = None) -> Iterator[Found]:
    """Yield what has the form of a token, of any kind, in order: a kind, "_", and some code."""
    for match in _STRANGER.finditer(text, start, len(text) if end is None else end):
        shape = _SHAPE.fullmatch(match[2])
        code = shape[1].upper() if shape and is_code(shape[1]) else ""
        spelling = int(match[2][CODE_LENGTH:] or 1) if code else 1
        yield Found(*match.span(), match[1].upper(), code, spelling)


def widened(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a place in a text, widened until a token that stood there would have its borders."""
    while start and not _BORDER.match(text, start):
        start -= 1
    while end < len(text) and text[end].isascii() and text[end].isalnum():
        end += 1
    return start, end


def begins_at(text: str, kinds: Iterable[str]) -> int | None:
    """Return where a token begins that may go on behind the end of a text, or None."""
    pattern = _unfinished(frozenset(kinds))
    match = pattern.search(text) if pattern else None
    return match.start() if match else None


def longest(kinds: Iterable[str]) -> int:
    """Return how many letters a token of these kinds takes at most, however it is wrapped."""
    return 26 * (max(map(len, kinds), default=0) + CODE_LENGTH + 1) + CONTEXT


@lru_cache(maxsize=64)
def _tolerant(kinds: frozenset[str]) -> re.Pattern[str] | None:
    if not kinds:
        return None
    spelt = "|".join(_GAP.join(kind) for kind in sorted(kinds, key=lambda kind: (-len(kind), kind)))
    code = f"(?P<code>{_CODE})(?P<spelling>{_SPELLING})"
    return re.compile(f"{_LEFT}(?P<kind>{spelt}){_MIDDLE}{code}{_RIGHT}", _FLAGS)


@lru_cache(maxsize=64)
def _unfinished(kinds: frozenset[str]) -> re.Pattern[str] | None:
    """Return what matches the beginning of a token, at the end of a text."""
    if not kinds:
        return None
    code = "[0-9]{0,6}"
    for _ in range(CODE_LENGTH - 1):
        code = f"(?:{_GAP}(?:{_LETTER}{code})?)?"
    middle = rf"(?:{_MIDDLE}(?:\\(?:u(?:0(?:05?)?)?)?)?(?:{_LETTER}{code})?)?"
    return re.compile(
        f"{_LEFT}(?:{'|'.join(_beginning(kind, middle) for kind in sorted(kinds))})\\Z", _FLAGS
    )


def _beginning(kind: str, rest: str) -> str:
    for letter in reversed(kind[1:]):
        rest = f"(?:{_GAP}(?:{letter}{rest})?)?"
    return kind[0] + rest
