"""IP addresses of both versions."""

import ipaddress
import re
from collections.abc import Iterator

from orchestrator.privacy.recognisers.base import Span

_DOT = r"[\s\[(]{0,2}\.[\s\])]{0,2}"  # also 10[.]0[.]0[.]1, which nobody can click
_V4 = re.compile(
    rf"(?<![0-9A-Za-z.])[0-9]{{1,3}}(?:{_DOT}[0-9]{{1,3}}){{3}}(?![0-9A-Za-z]|\.[0-9])"
)
_V6 = re.compile(
    r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]{2,39}(?:(?<=:)[0-9.]{7,15})?(?![0-9A-Za-z:]|\.[0-9])"
)
_VERSION = re.compile(
    r"(?<![A-Za-z])(?:v|ver|versions?|release|build|firmware|driver)[\s.:=-]{0,3}$", re.IGNORECASE
)
_NOBODY = ("127.0.0.1", "0.0.0.0", "255.255.255.255")  # noqa: S104 - nothing is bound here
_NEAR = 14


class IpRecogniser:
    """Finds IP addresses; four numbers after a word such as "version" are none."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where IP addresses stand in a text."""
        for match in _V4.finditer(text):
            small = all(int(part) <= 255 for part in re.findall(r"[0-9]+", match[0]))
            before = text[max(0, match.start() - _NEAR) : match.start()]
            if small and match[0] not in _NOBODY and not _VERSION.search(before):
                yield Span("ip", *match.span())
        if ":" in text:
            yield from self._version_6(text)

    def _version_6(self, text: str) -> Iterator[Span]:
        for match in _V6.finditer(text):
            if match[0].count(":") < 2:
                continue
            end = match.end()
            for address in (match[0], match[0].rstrip(":.")):  # a colon may be the sentence's
                if _is_v6(address):
                    yield Span("ip", match.start(), end - len(match[0]) + len(address))
                    break


def _is_v6(address: str) -> bool:
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return int(parsed) > 1  # "::" and "::1" name nobody
