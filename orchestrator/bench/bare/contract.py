"""What the bare servers and their clients agree on: a name, message sizes, frames, a chunk."""

import struct
from collections.abc import Iterator

SERVICE = "bare.Bare"

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),
]

CHUNK = b"a" * 20
"""One chunk of a stream: about a token with its envelope."""

_HEADER = struct.Struct("<IQ")


def frame(number: int, body: bytes) -> bytes:
    """Return a numbered frame."""
    return _HEADER.pack(len(body), number) + body


def frames(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of a message."""
    place = 0
    while place < len(message):
        length, number = _HEADER.unpack_from(message, place)
        place += _HEADER.size
        yield number, message[place : place + length]
        place += length
