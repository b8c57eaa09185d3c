"""Payment cards: numbers of the card schemes' ranges whose check digit fits."""

import re
from collections.abc import Iterator

from orchestrator.privacy.checksums import luhn_holds
from orchestrator.privacy.recognisers.base import Span
from orchestrator.privacy.recognisers.numbers import BETWEEN

_DIGITS = re.compile(rf"[0-9](?:{BETWEEN}[0-9]){{12,}}")
_LENGTHS = range(19, 12, -1)
# The first digits that card schemes have (ISO/IEC 7812), and those that only have 16 or more.
_SCHEMES = re.compile(
    r"[3-6]|1800|2131|(?P<long>220[0-4]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720|8[12])"
)
_LEAST_LONG = 16


class CardRecogniser:
    """Finds card numbers whose check digit fits, also beside other digits."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where card numbers stand in a text."""
        for run in _DIGITS.finditer(text):
            places = [run.start() + at for at, sign in enumerate(run[0]) if sign.isdigit()]
            yield from self._windows(text, places)

    def _windows(self, text: str, places: list[int]) -> Iterator[Span]:
        """Yield the windows of digits that are cards, the longest first, without overlaps."""
        digits = "".join(text[place] for place in places)
        first = 0
        while first < len(places):
            at_border = first == 0 or places[first] - places[first - 1] > 1
            last = self._last(digits, places, first) if at_border else None
            if last is not None:
                yield Span("card", places[first], places[last] + 1)
            first = first + 1 if last is None else last + 1

    def _last(self, digits: str, places: list[int], first: int) -> int | None:
        scheme = _SCHEMES.match(digits, first)
        if scheme is None:
            return None
        for length in _LENGTHS:
            last = first + length - 1
            if last >= len(places) or (scheme["long"] and length < _LEAST_LONG):
                continue
            at_border = last + 1 == len(places) or places[last + 1] - places[last] > 1
            if at_border and luhn_holds(digits[first : last + 1]):
                return last
        return None
