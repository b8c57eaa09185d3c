"""Frames: what the messages of a session are made of, and how large bodies travel in parts.

A message is a `SessionMessage` of the protocol, written and read here by hand: its one field is
the frames, one after the other, each a header of 13 bytes (length of the body, kind, number of
the call; little-endian) and the body.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from orchestrator.core.errors import WireError
from orchestrator.core.model import Array

Buffer = bytes | memoryview
"""Bytes to send as they are; a large array is copied once, into its message."""

SESSION = "/isthmus.v1.Node/Session"
ATTACH = "/isthmus.v1.Orchestrator/Attach"
"""The methods that carry them: dialled by the caller, and by the node."""

_HEADER = struct.Struct("<IBQ")

HEADER_BYTES = _HEADER.size
_KIND_BYTE = 4  # where a header says its kind

MESSAGE_BYTES = 1024 * 1024
"""The most that a message may have: small frames and a part take little more than half."""

WINDOW_BYTES = 1024 * 1024
"""What a stream may send ahead of its reader."""

SMALL_BYTES = 64 * 1024
"""Larger bodies lie in shared memory, or travel in parts beside the small ones."""

PART_BYTES = 256 * 1024
"""The most of one body that a message carries, so that small calls never wait for long."""

BESIDE_BYTES = 16 * 1024 * 1024
"""What large bodies beside the largest one may have together: none waits for a much larger one."""

_FIELD = b"\x0a"  # field 1, bytes, as protobuf writes it


class Kind(IntEnum):
    """What a frame says of its call; what its body is stands in the protocol."""

    CALL = 1
    OPEN = 2  # a call of a stream
    RESULT = 3  # the last frame of a call
    CHUNK = 4  # one value of a stream
    END = 5  # the last frame of a stream
    ERROR = 6  # the last frame of a call or a stream
    CANCEL = 7  # the caller has left
    CREDIT = 8  # the bytes of chunks that the caller has read
    PART = 9  # a piece of the body of the next frame of that call; empty: the body was given up
    REPORT = 10  # NodeReport of an attached node, or a caller's question for one; see `report_in`
    SHARE = 11  # where shared memory is; empty: the other end's was opened
    SHARED = 12  # stands for a frame with a body of which the most lies in shared memory
    RELEASE = 13  # what of the shared memory nobody reads any more


_KINDS = {kind.value: kind for kind in Kind}

Frame = tuple[Kind, int, bytes | None]
"""Kind, number of the call, body; None for a body that is larger than a session carries."""


class SplitBody(bytes):
    """The start of a body, up to the data of its attachments.

    Attributes:
        rest: All that follows, read-only bytes in shared memory.
    """

    rest: Array

    @property
    def size(self) -> int:
        """How many bytes the whole body has."""
        return len(self) + len(self.rest)


CHUNK_BYTES = 64
"""What a chunk takes of its stream's window beside its body: to keep an empty one costs, too."""


def size_of(body: bytes | None) -> int:
    """Return how many bytes a body has."""
    if body is None:
        return 0
    return body.size if isinstance(body, SplitBody) else len(body)


def encode_frame(kind: Kind, number: int, body: Buffer = b"") -> bytes:
    """Return a frame as bytes."""
    return _HEADER.pack(len(body), kind, number) + body


def encode_header(kind: Kind, number: int, length: int) -> bytes:
    """Return what stands before a body."""
    return _HEADER.pack(length, kind, number)


def kind_of(frame: bytes) -> Kind:
    """Return what a frame is."""
    return _KINDS[frame[_KIND_BYTE]]


def encode_message(pieces: Iterable[Buffer]) -> bytes:
    """Return the pieces of frames as a message."""
    pieces = list(pieces)
    length = sum(map(len, pieces))
    prefix = bytearray(_FIELD)
    while length > 127:
        prefix.append(length & 127 | 128)
        length >>= 7
    prefix.append(length)
    return b"".join([prefix, *pieces])


def decode_message(message: bytes) -> Iterator[tuple[Kind, int, bytes]]:
    """Yield the frames of a message.

    Raises:
        WireError: The bytes are no message of frames.
    """
    unpack, end = _HEADER.unpack_from, len(message)
    place = _start_of(message)
    while place < end:
        start = place + HEADER_BYTES
        if start > end:
            raise WireError("a session's message ends inside of a frame")
        length, code, number = unpack(message, place)
        place = start + length
        kind = _KINDS.get(code)
        if kind is None or place > end:
            raise WireError("a session's message is not made of frames")
        yield kind, number, message[start:place]


def _start_of(message: bytes) -> int:
    """Return where the frames begin; an empty message has none."""
    if not message:
        return 0
    length, shift, place = 0, 0, 1
    for place in range(1, min(len(message), 6)):
        length |= (message[place] & 127) << shift
        shift += 7
        if message[place] < 128:
            break
    if message[:1] != _FIELD or place + 1 + length != len(message):
        raise WireError("a message is no SessionMessage")
    return place + 1


def encode_report_message(number: int, body: bytes = b"") -> bytes:
    """Return a REPORT frame as the message of its own that it always is."""
    return encode_message([encode_frame(Kind.REPORT, number, body)])


def report_in(message: bytes) -> tuple[int, bytes] | None:
    """Return number and body of a REPORT frame.

    Returns:
        None for a message of other frames.

    Raises:
        WireError: The bytes are no message, the frame is not alone, or it is too long.
    """
    place = _start_of(message)
    start = place + HEADER_BYTES
    if start > len(message) or message[place + _KIND_BYTE] != Kind.REPORT:
        return None
    length, _, number = _HEADER.unpack_from(message, place)
    if len(message) != start + length or len(message) > MESSAGE_BYTES:
        raise WireError("a report is no message of its own")
    return number, message[start:]
