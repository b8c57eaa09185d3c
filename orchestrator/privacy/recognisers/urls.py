"""Addresses that carry a user and a password."""

import re
from collections.abc import Iterator

from orchestrator.privacy.recognisers.base import Span

_WITH_PASSWORD = re.compile(
    r"(?<![0-9A-Za-z])[a-z][a-z0-9+.-]{1,20}://"
    r"[^\s/?#\"'<>@:]{0,100}:[^\s/\"'<>]{1,200}@"
    r"[^\s\"'<>)]{1,500}",
    re.IGNORECASE,
)
_AFTER = ".,;!?"


class UrlCredentialsRecogniser:
    """Finds addresses such as "postgres://user:password@host/db", whole."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where they stand in a text."""
        if "://" not in text:
            return
        for match in _WITH_PASSWORD.finditer(text):
            yield Span(
                "url_credentials", match.start(), match.start() + len(match[0].rstrip(_AFTER))
            )
