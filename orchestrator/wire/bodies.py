"""The bodies of a session's frames: calls, replies and values, laid out to be read in place.

Little-endian and without padding, but for the data of an attachment, which begins at a
multiple of 16 bytes from the start of its body.

    call   timeout in us (8), attempt (2), depth (2), length of the head (2),
           trace id (16), span id (8), head (a CallHead), value
    reply  timings, value
    timings  in ms, as floats: node (4), queue (4), service (4); calls waiting (4)
    value  length of the JSON (4), number of attachments (2), their descriptions, JSON, their data
           a description of bytes: 0 (1), length (8)
           of a tensor: 1 (1), element type (1), number of axes (1), each axis (8)

A call says what it shares with others in a head, whose bytes are the same for all of them: both
ends look it up instead of reading it anew.
"""

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from orchestrator.core.call import Call, Timings
from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.errors import InvalidInput, WireError
from orchestrator.core.model import Array
from orchestrator.wire.frames import Buffer, SplitBody
from orchestrator.wire.guard import check_size
from orchestrator.wire.messages import HERE, arguments_of, decode_label, encode_label, parse
from orchestrator.wire.payloads import Packed
from orchestrator.wire.tensors import DTYPES, array_over, check_shape
from policies.facts import Label, Level, Tier
from protos.isthmus.v1 import node_pb2 as pb

_CALL = struct.Struct("<QHHH24s")
_ID = slice(_CALL.size - 8, _CALL.size)
_TIMINGS = struct.Struct("<fffI")
_VALUE = struct.Struct("<IH")
_BYTES = struct.Struct("<BQ")
_TENSOR = struct.Struct("<BBB")
_ALIGNMENT = 16
_MOST_MS = 1e9
_HEADS = 1024
"""How many different heads each end remembers."""

_SHORT_HEAD = 1024
"""Bytes of a head that is remembered: strangers choose heads, and must not fill the memory."""

_LONGEST_HEAD = 2**16 - 1

_DTYPES = tuple(sorted(DTYPES))
_DTYPE_CODES = {name: code for code, name in enumerate(_DTYPES)}


def encode_call(call: Call, packed: Packed) -> list[Buffer]:
    """Return a call as the pieces of a body; its arrays are not copied.

    Raises:
        InvalidInput: Its label is too long.
    """
    label = call.label
    head = _encode_head(call.service, call.version, label.level, label.categories)
    if len(head) > _LONGEST_HEAD:
        raise InvalidInput("the call's label is too long: use fewer or shorter categories")
    left = int((call.deadline.at - call.deadline.clock()) * 1e6)
    ids = bytes.fromhex(call.trace + call.id)
    # 0 would leave the time to the node.
    start = _CALL.pack(left if left > 0 else 1, call.attempt, call.depth, len(head), ids)
    return _with_value(start + head, packed, _data_of)


def decode_call(
    body: bytes, tier: Tier, stream: bool, seconds: float, clock: Clock, max_bytes: int
) -> Call:
    """Return a body as a call.

    Args:
        body: The body.
        tier: The tier of the node that received it.
        stream: Whether it asks for a stream.
        seconds: How long a call may take that says nothing.
        clock: The node's clock.
        max_bytes: The most that its arguments may take.

    Raises:
        InvalidInput: It has no label, or is too large.
        WireError: It makes no sense.
    """
    if len(body) < _CALL.size:
        raise WireError("a call is shorter than its first part")
    timeout, attempt, depth, length, ids = _CALL.unpack_from(body)
    place = _CALL.size + length
    head = body[_CALL.size : place]
    read = _decode_head if length <= _SHORT_HEAD else _decode_head.__wrapped__
    service, version, label = read(head)
    packed = decode_value(body, place)
    check_size(packed, max_bytes)
    due = clock() + (timeout / 1e6 if timeout else seconds)
    ids = ids.hex()
    return Call(
        ids[32:], ids[:32], service, version, arguments_of(packed), label, Deadline(due, clock),
        HERE[tier], stream, False, attempt or 1, depth,
    )  # fmt: skip


def call_id_in(body: bytes) -> str:
    """Return the id of the call in a body; empty if it has none."""
    return body[_ID].hex() if len(body) >= _CALL.size else ""


def encode_reply(timings: Timings, packed: Packed) -> list[Buffer]:
    """Return an answer as the pieces of a body, which may wait while its service runs again."""
    return _with_value(encode_timings(timings), packed, _copy_of)


def decode_reply(body: bytes) -> tuple[Packed, Timings]:
    """Return a body as an answer; raise WireError if it is none."""
    return decode_value(body, _TIMINGS.size), decode_timings(body)


def encode_timings(timings: Timings) -> bytes:
    """Return timings as a body, or as the start of one."""
    return _TIMINGS.pack(timings.node_ms, timings.queue_ms, timings.service_ms, timings.waiting)


def decode_timings(body: bytes) -> Timings:
    """Return the start of a body as timings; raise WireError if they make no sense."""
    if len(body) < _TIMINGS.size:
        raise WireError("an answer is shorter than its timings")
    node_ms, queue_ms, service_ms, waiting = _TIMINGS.unpack_from(body)
    if not (0 <= node_ms < _MOST_MS and 0 <= queue_ms < _MOST_MS and 0 <= service_ms < _MOST_MS):
        raise WireError("the timings of an answer are no times")
    return Timings(node_ms, queue_ms, service_ms, waiting)


def encode_value(packed: Packed) -> list[Buffer]:
    """Return a value as the pieces of a body, which may wait while its service goes on."""
    return _with_value(b"", packed, _copy_of)


def decode_value(body: bytes, place: int = 0) -> Packed:
    """Return a value that begins at a place of a body; raise WireError if it makes no sense."""
    start = place + _VALUE.size
    if start > len(body):
        raise WireError("a value is shorter than its first part")
    length, count = _VALUE.unpack_from(body, place)
    if not count:
        if start + length != len(body):
            raise WireError("a value has another length than it says")
        return Packed(body[start:])
    try:
        return _decode_attachments(body, start, length, count)
    except (struct.error, IndexError, ValueError):
        raise WireError("the attachments of a value make no sense") from None


@lru_cache(_HEADS)
def _encode_head(service: str, version: str, level: Level, categories: frozenset[str]) -> bytes:
    label = encode_label(Label(level, categories))
    head = pb.CallHead(service=service, version=version, label=label)
    return head.SerializeToString()


@lru_cache(_HEADS)
def _decode_head(data: bytes) -> tuple[str, str, Label]:
    head = parse(pb.CallHead, data)
    if not head.service:
        raise WireError("a call names no service")
    return head.service, head.version, decode_label(head)


def _with_value(
    start: bytes, packed: Packed, data_of: Callable[[Array | bytes], Buffer]
) -> list[Buffer]:
    json, attachments = packed.json, packed.attachments
    if not attachments:
        return [start + _VALUE.pack(len(json), 0) + json]
    said = b"".join([_VALUE.pack(len(json), len(attachments)), *map(_describe, attachments), json])
    pieces: list[Buffer] = [start + said]
    place = len(pieces[0])
    for part in attachments:
        padding = -place % _ALIGNMENT
        data = data_of(part)
        pieces += (bytes(padding), data)
        place += padding + len(data)
    return pieces


def _describe(part: Array | bytes) -> bytes:
    if isinstance(part, bytes):
        return _BYTES.pack(0, len(part))
    axes = struct.pack(f"<{part.ndim}q", *part.shape)
    return _TENSOR.pack(1, _DTYPE_CODES[part.dtype.name], part.ndim) + axes


def _data_of(part: Array | bytes) -> Buffer:
    if isinstance(part, bytes):
        return part
    plain = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data if plain.size else b""


def _copy_of(part: Array | bytes) -> bytes:
    return bytes(_data_of(part))


def _decode_attachments(body: bytes, place: int, length: int, count: int) -> Packed:
    described: list[tuple[str, tuple[int, ...], int]] = []
    for _ in range(count):
        kind = body[place]
        if kind == 0:
            _, size = _BYTES.unpack_from(body, place)
            place += _BYTES.size
            described.append(("", (), size))
        elif kind == 1:
            _, code, axes = _TENSOR.unpack_from(body, place)
            shape = struct.unpack_from(f"<{axes}q", body, place + _TENSOR.size)
            place += _TENSOR.size + 8 * axes
            described.append((_DTYPES[code], shape, check_shape(_DTYPES[code], shape)))
        else:
            raise WireError("a value has an attachment of an unknown kind")
    json = body[place : place + length]
    if isinstance(body, SplitBody) and place + length != len(body):
        raise WireError("a value has its JSON in shared memory")
    return Packed(json, tuple(_read_data(body, place + length, described)))


def _read_data(
    body: bytes, place: int, described: Sequence[tuple[str, tuple[int, ...], int]]
) -> list[Array | bytes]:
    parts: list[Array | bytes] = []
    data: Buffer | Array = body
    before, end = 0, len(body)
    if isinstance(body, SplitBody):
        data, before, end = body.rest, end, body.size
    for name, shape, size in described:
        place += -place % _ALIGNMENT
        if place + size > end:
            raise WireError("an attachment is longer than its value")
        if name:
            parts.append(array_over(data, place - before, name, shape))
        else:
            parts.append(bytes(data[place - before : place - before + size]))
        place += size
    if place != end:
        raise WireError("a value has another length than it says")
    return parts
