"""Frames: what the messages of a session are made of, and how large bodies travel in parts.

A message is any number of frames, one after the other: a header of 13 bytes (length of the
body, kind, number of the call; little-endian) and the body.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

from orchestrator.core.errors import WireError

_HEADER = struct.Struct("<IBQ")

HEADER_BYTES = _HEADER.size

MESSAGE_BYTES = 1024 * 1024
"""The most that a message may have: small frames and a part take little more than half."""

WINDOW_BYTES = 1024 * 1024
"""What a stream may send ahead of its reader."""

PART_BYTES = 256 * 1024
"""The most of one body that a message carries, so that small calls never wait for long."""


class Kind(IntEnum):
    """What a frame says of its call; the body is a message of the protocol, or nothing."""

    CALL = 1  # InvokeRequest
    OPEN = 2  # InvokeRequest, of a stream
    RESULT = 3  # InvokeReply; the last frame of a call
    CHUNK = 4  # Payload: one value of a stream
    END = 5  # Timings; the last frame of a stream
    ERROR = 6  # google.rpc.Status; the last frame of a call or a stream
    CANCEL = 7  # the caller has left
    CREDIT = 8  # the bytes of chunks that the caller has read, as 4 bytes
    PART = 9  # a piece of the body of the next frame of that call


_KINDS = {kind.value: kind for kind in Kind}

Frame = tuple[Kind, int, bytes | None]
"""Kind, number of the call, body; None for a body that is larger than a session carries."""


def encode_frame(kind: Kind, number: int, body: bytes = b"") -> bytes:
    """Return a frame as bytes."""
    return _HEADER.pack(len(body), kind, number) + body


def decode_frames(message: bytes) -> Iterator[tuple[Kind, int, bytes]]:
    """Yield the frames of a message.

    Raises:
        WireError: The bytes are no frames.
    """
    place, end = 0, len(message)
    while place < end:
        start = place + _HEADER.size
        if start > end:
            raise WireError("a session's message ends inside of a frame")
        length, code, number = _HEADER.unpack_from(message, place)
        place = start + length
        kind = _KINDS.get(code)
        if kind is None or place > end:
            raise WireError("a session's message is not made of frames")
        yield kind, number, message[start:place]


class Assembler:
    """Puts bodies together that came in parts; one body is under way at a time.

    Args:
        most: The most bytes of one body.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = 0
        self._body = bytearray()
        self._size = 0

    def whole(self, message: bytes) -> Iterator[Frame]:
        """Yield the frames of a message, parts kept back until their body is complete.

        Raises:
            WireError: The bytes are no frames, or too many.
        """
        if len(message) > MESSAGE_BYTES:
            raise WireError("a session's message is too long")
        for kind, number, body in decode_frames(message):
            if kind is Kind.PART:
                self._keep(number, body)
            elif self._size and number == self._number:
                self._keep(number, body)
                yield kind, number, self._take()
            else:
                yield kind, number, body

    def _keep(self, number: int, part: bytes) -> None:
        if number != self._number:
            self._take()  # its sender gave the other one up
        self._number = number
        self._size += len(part)
        if self._size <= self._most:
            self._body += part
        else:
            self._body.clear()  # what is too large is counted, and not kept

    def _take(self) -> bytes | None:
        body = bytes(self._body) if self._size <= self._most else None
        self._body, self._size, self._number = bytearray(), 0, 0
        return body
