"""HTTP/2 out of a recorded stream: headers decoded, bodies without the borders of frames.

Headers are compressed (HPACK, RFC 7541): a secret in one, such as in the message of an error,
could not be found in the bytes as they travel.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _CONTINUATION = 0, 1, 9
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_HEAD = 9
_UNCOMPRESSED = (b"identity", b"")


@dataclass
class Spoken:
    """What one end said.

    Attributes:
        headers: All headers, as text.
        bodies: The bodies of its streams, without frames, one after the other.
        encodings: What the headers say of compression, other than that there is none.
        messages: How many gRPC messages there are.
        compressed: How many of these say that they are compressed.
        broken: How many bytes at the end are no HTTP/2.
    """

    headers: bytes = b""
    bodies: bytes = b""
    encodings: list[str] = field(default_factory=list)
    messages: int = 0
    compressed: int = 0
    broken: int = 0


class _Reader:
    """Takes the frames of one direction apart."""

    def __init__(self) -> None:
        self.said = Spoken()
        self.bodies: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._decoder = hpack.Decoder(max_header_list_size=2**20)
        self._block = b""
        self._lines: list[bytes] = []

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Take one frame."""
        if kind in (_DATA, _HEADERS) and flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == _DATA:
            self.bodies[stream] += payload
        elif kind in (_HEADERS, _CONTINUATION):
            if kind == _HEADERS and flags & _PRIORITY:
                payload = payload[5:]
            self._block += payload
            if flags & _END_HEADERS:
                self._headers()

    def _headers(self) -> None:
        block, self._block = self._block, b""
        for name, value in self._decoder.decode(block, raw=True):
            self._lines.append(name + b": " + value)
            if name in (b"grpc-encoding", b"content-encoding") and value not in _UNCOMPRESSED:
                self.said.encodings.append(value.decode(errors="replace"))

    def ended(self) -> Spoken:
        """Return all that was said."""
        self.said.headers = b"\n".join(self._lines)
        self.said.bodies = b"".join(self.bodies.values())
        for body in self.bodies.values():
            place = 0
            while place + 5 <= len(body):
                self.said.messages += 1
                self.said.compressed += body[place]
                place += 5 + int.from_bytes(body[place + 1 : place + 5], "big")
        return self.said


def read(data: bytes) -> Spoken:
    """Return what one end of a connection said in HTTP/2, with or without the preface."""
    reader, place = _Reader(), len(PREFACE) if data.startswith(PREFACE) else 0
    while place + _HEAD <= len(data):
        length = int.from_bytes(data[place : place + 3], "big")
        kind, flags = data[place + 3], data[place + 4]
        end = place + _HEAD + length
        if end > len(data):
            break  # the connection was cut
        stream = int.from_bytes(data[place + 5 : place + _HEAD], "big") % 2**31
        reader.frame(kind, flags, stream, data[place + _HEAD : end])
        place = end
    said = reader.ended()
    said.broken = len(data) - place
    return said
