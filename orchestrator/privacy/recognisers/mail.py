"""E-mail addresses, also those written so that programs shall not see them."""

import re
from collections.abc import Iterator

from orchestrator.privacy.recognisers.base import Span

_LOCAL = r"\w[\w.!#$%&'*+/=?^`{|}~-]{0,63}"
_PLAIN = re.compile(rf"{_LOCAL}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+")

# A loose form needs a well-known end, for "see me @ home. Then ..." is no address.
_ENDS = "com|org|net|edu|gov|info|io|co|eu|uk|de|at|ch|fr|es|it|nl|be|pl|se|fi|no|dk|br|in|example"
_AT = r"\s{0,3}(?:@|[\[({]\s?(?:at|@)\s?[\])}])[\s>]{0,4}"
_DOT = r"\s{0,2}(?:\.|[\[({]\s?(?:dot|\.)\s?[\])}])[\s>]{0,3}"
_LOOSE = re.compile(
    rf"{_LOCAL}{_AT}[\w-]{{1,63}}(?:{_DOT}[\w-]{{1,63}}){{0,4}}{_DOT}(?:{_ENDS})\b", re.IGNORECASE
)
_WORDED = re.compile(
    rf"{_LOCAL}\s{{1,3}}at\s{{1,3}}[\w-]{{1,63}}(?:\s{{1,2}}dot\s{{1,2}}[\w-]{{1,63}}){{0,3}}"
    rf"\s{{1,2}}dot\s{{1,2}}(?:{_ENDS})\b",
    re.IGNORECASE,
)


class EmailRecogniser:
    """Finds e-mail addresses, also as "ada (at) example (dot) com" or with spaces inside."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where e-mail addresses stand in a text."""
        # An at sign or the word, and a dot or the word: else no pattern need be tried.
        lower = text.lower()
        if "@" in text:
            yield from (Span("email", *match.span()) for match in _PLAIN.finditer(text))
        if "@" in text or "at" in lower:
            yield from (Span("email", *match.span()) for match in _LOOSE.finditer(text))
        if "dot" in lower:
            yield from (Span("email", *match.span()) for match in _WORDED.finditer(text))
