"""Finding private values in text: e-mail, phone, payment card, IBAN."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.privacy.checksums import IBAN_LENGTHS, iban_holds, luhn_holds

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_BETWEEN = r"[ \u00a0\u2009\u202f./-]{0,2}"  # what people put between the groups of a number
_DIGITS = re.compile(rf"[0-9](?:{_BETWEEN}[0-9]){{12,}}")
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}")
_IBAN_NEXT = re.compile(rf"{_BETWEEN}([A-Za-z0-9])")
_CARD_LENGTHS = range(19, 12, -1)
_LONG = 9


@dataclass(frozen=True, slots=True)
class Span:
    """A private value's place in a text, from `start` up to `end`."""

    kind: str
    start: int
    end: int


class Recogniser(Protocol):
    """Finds one kind of private value."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where it stands in a text."""


class EmailRecogniser:
    """Finds e-mail addresses."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where e-mail addresses stand in a text."""
        for match in _EMAIL.finditer(text):
            yield Span("email", *match.span())


class IbanRecogniser:
    """Finds account numbers whose check digits fit, however they are grouped."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where IBANs stand in a text."""
        end = 0
        for match in _IBAN_START.finditer(text):
            if match.start() >= end and (found := self._end(text, match)):
                end = found
                yield Span("iban", match.start(), end)

    def _end(self, text: str, start: re.Match[str]) -> int | None:
        """Return where the account number that starts here ends, if it is one."""
        account, end = start[0].upper(), start.end()
        length = IBAN_LENGTHS.get(account[:2], 0)
        while len(account) < length:
            letter = _IBAN_NEXT.match(text, end)
            if letter is None:
                return None
            account, end = account + letter[1].upper(), letter.end()
        whole = length and not (end < len(text) and text[end].isalnum())
        return end if whole and iban_holds(account) else None


class CardRecogniser:
    """Finds payment card numbers whose check digit fits, also beside other digits."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where card numbers stand in a text."""
        for run in _DIGITS.finditer(text):
            places = [run.start() + at for at, sign in enumerate(run[0]) if sign.isdigit()]
            yield from self._windows(text, places)

    def _windows(self, text: str, places: list[int]) -> Iterator[Span]:
        """Yield the windows of digits that are cards, the longest first, without overlaps."""
        first = 0
        while first < len(places):
            at_border = first == 0 or places[first] - places[first - 1] > 1
            last = self._last(text, places, first) if at_border else None
            if last is not None:
                yield Span("card", places[first], places[last] + 1)
            first = first + 1 if last is None else last + 1

    def _last(self, text: str, places: list[int], first: int) -> int | None:
        for length in _CARD_LENGTHS:
            last = first + length - 1
            if last >= len(places):
                continue
            at_border = last + 1 == len(places) or places[last + 1] - places[last] > 1
            if at_border and luhn_holds("".join(text[at] for at in places[first : last + 1])):
                return last
        return None


class PhoneRecogniser:
    """Finds phone numbers, by the numbering plans of all countries.

    Args:
        region: The country of numbers without a country code, such as "GB".
    """

    def __init__(self, region: str = "GB") -> None:
        self._region = region

    def find(self, text: str) -> Iterator[Span]:
        """Yield where phone numbers stand in a text."""
        from phonenumbers import Leniency, PhoneNumberMatcher, is_valid_number

        for match in PhoneNumberMatcher(text, self._region, Leniency.POSSIBLE):
            # A number of nobody's plan is masked, too, if it is too long for a date or an order.
            digits = sum(letter.isdigit() for letter in match.raw_string)
            if digits >= _LONG or is_valid_number(match.number):
                yield Span("phone", match.start, match.end)


# Those with check digits stand first: they are surest of what they found.
DEFAULT: Sequence[Recogniser] = (
    IbanRecogniser(),
    CardRecogniser(),
    EmailRecogniser(),
    PhoneRecogniser(),
)
"""The recognisers that are used unless others are named."""
