"""A scanner of patterns: registered secrets that may not leave, whatever their label says."""

import re
from collections.abc import Mapping


class PatternScanner:
    """Finds patterns in the bytes of a call, in any case.

    Args:
        patterns: The name of each pattern, which errors show, and its regular expression.

    Raises:
        re.error: A pattern is no regular expression.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns = {
            name: re.compile(pattern.encode(), re.IGNORECASE) for name, pattern in patterns.items()
        }

    def find(self, data: bytes | memoryview) -> str | None:
        """Return the name of the first pattern that the bytes hold."""
        return next((name for name, p in self._patterns.items() if p.search(data)), None)
