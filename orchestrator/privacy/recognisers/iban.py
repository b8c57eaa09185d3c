"""Bank accounts: IBANs whose check digits fit."""

import re
from collections.abc import Iterator

from orchestrator.privacy.checksums import IBAN_LENGTHS, iban_holds
from orchestrator.privacy.recognisers.base import Span
from orchestrator.privacy.recognisers.numbers import BETWEEN

_START = re.compile(rf"(?<![A-Za-z0-9])([A-Za-z]){BETWEEN}([A-Za-z]){BETWEEN}(?=[0-9])")
_NEXT = re.compile(rf"{BETWEEN}([A-Za-z0-9])")


class IbanRecogniser:
    """Finds account numbers whose check digits fit, however they are grouped."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where IBANs stand in a text."""
        end = 0
        for match in _START.finditer(text):
            if match.start() >= end and (found := self._end(text, match)):
                end = found
                yield Span("iban", match.start(), end)

    def _end(self, text: str, start: re.Match[str]) -> int | None:
        """Return where the account number that starts here ends, if it is one."""
        account, end = (start[1] + start[2]).upper(), start.end()
        length = IBAN_LENGTHS.get(account, 0)
        while len(account) < length:
            letter = _NEXT.match(text, end)
            if letter is None:
                return None
            account, end = account + letter[1].upper(), letter.end()
        whole = length and not (end < len(text) and text[end].isascii() and text[end].isalnum())
        return end if whole and account[2:4].isdigit() and iban_holds(account) else None
