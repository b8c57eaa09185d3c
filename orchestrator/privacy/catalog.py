"""The recognisers by name, as settings and callers ask for them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from orchestrator.privacy.recognisers import (
    CardRecogniser,
    EmailRecogniser,
    IbanRecogniser,
    PhoneRecogniser,
    Recogniser,
    Span,
)

# Those with check digits stand first: they are surest of what they found.
_BY_NAME: dict[str, Callable[[], Recogniser]] = {
    "iban": IbanRecogniser,
    "card": CardRecogniser,
    "email": EmailRecogniser,
    "phone": PhoneRecogniser,
}


class PatternRecogniser:
    """Finds what a regular expression matches."""

    def __init__(self, kind: str, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"the pattern of {kind!r} is no regular expression: {error}") from None
        self._kind = kind

    def find(self, text: str) -> Iterator[Span]:
        """Yield where it matches in a text."""
        for match in self._pattern.finditer(text):
            yield Span(self._kind, *match.span())


def default_recognisers() -> Sequence[Recogniser]:
    """Return the recognisers that are used unless others are named, the surest first."""
    return tuple(make() for make in _BY_NAME.values())


def recognisers_named(
    names: Iterable[str] = tuple(_BY_NAME),
    patterns: Mapping[str, str] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Sequence[Recogniser]:
    """Return recognisers by name, and those of a user's own patterns and words.

    Raises:
        ValueError: A name is unknown, or a pattern is no regular expression.
    """
    asked = set(names)
    if unknown := sorted(asked - set(_BY_NAME)):
        known = ", ".join(_BY_NAME)
        raise ValueError(f"no recogniser is called {', '.join(unknown)}; there are {known}")
    listed = {k: rf"(?i)\b(?:{'|'.join(map(re.escape, v))})\b" for k, v in (words or {}).items()}
    return (
        *(PatternRecogniser(kind, pattern) for kind, pattern in (patterns or {}).items()),
        *(PatternRecogniser(kind, pattern) for kind, pattern in listed.items()),
        *(make() for name, make in _BY_NAME.items() if name in asked),
    )
