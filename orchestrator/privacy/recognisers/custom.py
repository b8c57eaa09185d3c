"""What a user calls private: patterns and words of his own."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from orchestrator.privacy.recognisers.base import Span

_WORD = re.compile(r"\w+")
_NESTED = re.compile(r"\((?:[^()\\]|\\.)*[+*](?:[^()\\]|\\.)*\)(?:[+*]|\{[0-9]+,\})")


class PatternRecogniser:
    """Finds what a regular expression matches.

    Args:
        kind: The name of what it finds.
        pattern: In the syntax of Python's `re`.

    Raises:
        ValueError: The pattern is none, matches nothing at all, or may take for ever.
    """

    def __init__(self, kind: str, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"the pattern of {kind!r} is no regular expression: {error}") from None
        if self._pattern.match(""):
            raise ValueError(f"the pattern of {kind!r} also fits an empty text; ask for a sign")
        if _NESTED.search(pattern):
            raise ValueError(
                f"the pattern of {kind!r} repeats a repetition, which may take for ever; "
                "write (a+)+ as a+"
            )
        self._kind = kind

    def find(self, text: str) -> Iterator[Span]:
        """Yield where the pattern matches."""
        for match in self._pattern.finditer(text):
            if match[0]:
                yield Span(self._kind, *match.span())


class WordRecogniser:
    """Finds words or phrases of a list: whole words, in any case, with any space between.

    Args:
        kind: The name of what it finds.
        words: The list; it may be long.

    Raises:
        ValueError: The list is empty, or an entry has no letter or digit.
    """

    def __init__(self, kind: str, words: Sequence[str]) -> None:
        if not words:
            raise ValueError(f"the word list of {kind!r} is empty; name at least one word")
        self._kind = kind
        self._phrases: dict[str, list[list[str]]] = defaultdict(list)
        for entry in words:
            phrase = [word.casefold() for word in _WORD.findall(entry)]
            if not phrase:
                raise ValueError(f"the word list of {kind!r} has an entry without any letter")
            self._phrases[phrase[0]].append(phrase)
        for phrases in self._phrases.values():
            phrases.sort(key=len, reverse=True)

    def find(self, text: str) -> Iterator[Span]:
        """Yield where the words stand in a text, the longest phrase at each place."""
        found = [*_WORD.finditer(text)]
        words = [match[0].casefold() for match in found]
        for at, word in enumerate(words):
            for phrase in self._phrases.get(word, ()):
                if words[at : at + len(phrase)] == phrase:
                    yield Span(self._kind, found[at].start(), found[at + len(phrase) - 1].end())
                    break
