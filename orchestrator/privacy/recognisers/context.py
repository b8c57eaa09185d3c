"""Words near a number that say what it is, where the number alone could be anything."""

import re

_BEFORE, _AFTER = 60, 30


def word_pattern(*words: str) -> re.Pattern[str]:
    """Return a pattern for any of these words (regular expressions), in any case."""
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])", re.IGNORECASE)


def is_near(words: re.Pattern[str], text: str, start: int, end: int) -> bool:
    """Say whether one of the words stands close to a place, before it or shortly after."""
    before = text[max(0, start - _BEFORE) : start]
    return bool(words.search(before) or words.search(text[end : end + _AFTER]))
