"""Inputs of the fuzzed targets: messages joined into one text of bytes, and changed at random."""

import random
import struct
from collections.abc import Iterator, Sequence

_LENGTH = struct.Struct("<H")
_LONGEST = 4096
_TELLING = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x09")


def join(messages: Sequence[bytes]) -> bytes:
    """Return messages as one input: each with its length before it, in two bytes."""
    return b"".join(_LENGTH.pack(len(message)) + message for message in messages)


def split(data: bytes) -> Iterator[bytes]:
    """Yield the messages of an input, empty ones left out.

    The last one may be cut short, so that any bytes will do.
    """
    place = 0
    while place + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if message := data[place : place + length]:
            yield message
        place += length


def mutated(seeds: Sequence[bytes], source: random.Random) -> bytes:
    """Return one of the inputs, changed in one to four places."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 4)):
        place, end = sorted(source.randrange(len(data) + 1) for _ in range(2))
        match source.randrange(6):
            case 0:
                data[place : place + 1] = bytes([source.randrange(256)])
            case 1:
                telling = source.choice(_TELLING)
                data[place : place + len(telling)] = telling
            case 2:
                del data[place : min(end, place + 16)]
            case 3:
                data[place:place] = data[place:end]
            case 4:
                other = source.choice(seeds)
                data[place:place] = other[source.randrange(len(other) + 1) :]
            case 5:
                del data[place:]
    return bytes(data[:_LONGEST])
