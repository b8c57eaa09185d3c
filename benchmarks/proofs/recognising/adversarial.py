"""Ways to write a value so that a careless search does not see it."""

import string
from collections.abc import Callable
from random import Random

Change = Callable[[Random, str], str]

_ALIKE = {
    "A": "А",
    "B": "В",
    "C": "С",
    "E": "Е",
    "H": "Н",
    "K": "К",
    "M": "М",
    "O": "О",
    "P": "Р",
    "T": "Т",
    "X": "Х",
    "a": "а",
    "c": "с",
    "e": "е",
    "i": "і",
    "o": "о",
    "p": "р",
    "s": "ѕ",
    "x": "х",
    "y": "у",
}
_ZEROS = "٠۰०০๐０𝟎𝟘"
_UNSEEN = "\u200b\u200c\u200d\u2060\u00ad\ufeff"


def _lookalikes(source: Random, value: str) -> str:
    return "".join(_ALIKE.get(sign, sign) if source.random() < 0.7 else sign for sign in value)


def _full_width(source: Random, value: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in value)


def _mathematical(source: Random, value: str) -> str:
    return "".join(_bold(sign) for sign in value)


def _bold(sign: str) -> str:
    for alphabet, first in ((string.ascii_uppercase, 0x1D400), (string.ascii_lowercase, 0x1D41A)):
        if sign in alphabet:
            return chr(first + alphabet.index(sign))
    return chr(0x1D7CE + int(sign)) if sign in string.digits else sign


def _other_digits(source: Random, value: str) -> str:
    zero = ord(source.choice(_ZEROS))
    return "".join(chr(zero + int(sign)) if sign in string.digits else sign for sign in value)


def _unseen(source: Random, value: str) -> str:
    return "".join(sign + source.choice(["", source.choice(_UNSEEN)]) for sign in value)


def _spaced(source: Random, value: str) -> str:
    return " ".join(value.replace(" ", ""))


def _wrapped(source: Random, value: str) -> str:
    place = source.randint(1, len(value) - 1)
    return value[:place].rstrip() + source.choice(("\n", "\r\n", "\n> ")) + value[place:].lstrip()


def _mixed_case(source: Random, value: str) -> str:
    return "".join(source.choice((sign.lower(), sign.upper())) for sign in value)


def _dashes(source: Random, value: str) -> str:
    sign = source.choice("\u2010\u2011\u2013\u2014\u2212")
    return value.replace("-", sign).replace(" ", source.choice((sign, "\u00a0", "\u2009", "  ")))


CHANGES: dict[str, Change] = {
    "look-alikes": _lookalikes,
    "full width": _full_width,
    "mathematical": _mathematical,
    "digits of other scripts": _other_digits,
    "unseen characters": _unseen,
    "letter by letter": _spaced,
    "line break": _wrapped,
    "mixed case": _mixed_case,
    "other dashes and spaces": _dashes,
}
