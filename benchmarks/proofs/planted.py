"""Parsers of frames with planted bugs: the fuzzer must find each, or it proves nothing."""

import struct
from collections.abc import Iterator

from orchestrator.core.errors import WireError
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.frames import Frame, Kind

_HEADER = struct.Struct("<IBQ")


class Sound:
    """Reads frames and leaves parts out; nothing is wrong with it."""

    def whole(self, message: bytes) -> Iterator[Frame]:
        """Yield the frames of a message."""
        place = 0
        while place < len(message):
            length, code, number = self.header(message, place)
            place += _HEADER.size + length
            if not 1 <= code <= len(Kind) or place > len(message):
                raise WireError
            if code != Kind.PART:
                yield Kind(code), number, message[place - length : place]

    def header(self, message: bytes, place: int) -> tuple[int, int, int]:
        """Return length, kind and number."""
        if place + _HEADER.size > len(message):
            raise WireError
        length, code, number = _HEADER.unpack_from(message, place)
        return length, code, number


class Crashing(Sound):
    """Forgets that a message may end inside of a header."""

    def header(self, message: bytes, place: int) -> tuple[int, int, int]:
        """Return length, kind and number, or crash."""
        length, code, number = _HEADER.unpack_from(message, place)
        return length, code, number


class Trusting(Sound):
    """Makes room for what a header promises before it looks whether that is there."""

    def header(self, message: bytes, place: int) -> tuple[int, int, int]:
        """Return length, kind and number."""
        length, code, number = super().header(message, place)
        bytearray(min(length, 2**24))
        return length, code, number


class Keeping(Assembler):
    """Never forgets a body that was not completed."""

    kept: list[bytes] = []  # noqa: RUF012  the bug

    def whole(self, message: bytes) -> Iterator[Frame]:
        """Yield the frames of a message, and keep it."""
        self.kept.append(bytes(bytearray(message)))
        return super().whole(message)
