"""The bodies of frames as both ends write and read them: the one place here that knows them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.core.call import Timings
from orchestrator.wire.messages import (
    decode_call,
    decode_credit,
    decode_timings,
    encode_timings,
    parse,
)
from orchestrator.wire.payloads import decode, encode, pack, unpack
from orchestrator.wire.status import decode_error
from protos.isthmus.v1 import node_pb2 as pb

_SECONDS = 30.0


def call_body(service: str, seconds: float = _SECONDS, **arguments: Any) -> bytes:
    """Return the body of a CALL or an OPEN, public, with so many seconds of time."""
    message = pb.InvokeRequest(
        service=service, label=pb.Label(level=pb.LEVEL_PUBLIC), timeout_us=int(seconds * 1e6)
    )
    encode(pack(arguments), message.arguments)
    return message.SerializeToString()


def result_body(value: Any) -> bytes:
    """Return the body of a RESULT."""
    message = pb.InvokeReply(timings=encode_timings(Timings()))
    encode(pack(value), message.result)
    return message.SerializeToString()


def chunk_body(value: Any) -> bytes:
    """Return the body of a CHUNK."""
    return encode(pack(value)).SerializeToString()


def end_body() -> bytes:
    """Return the body of an END."""
    return encode_timings(Timings()).SerializeToString()


def _read_call(body: bytes) -> object:
    request = parse(pb.InvokeRequest, body)
    return decode_call(request, "edge", False, _SECONDS, time.monotonic)


def _read_result(body: bytes) -> object:
    message = parse(pb.InvokeReply, body)
    return unpack(decode(message.result)), decode_timings(message.timings)


READERS: Mapping[str, Callable[[bytes], object]] = {
    "CALL": _read_call,
    "RESULT": _read_result,
    "CHUNK": lambda body: unpack(decode(parse(pb.Payload, body))),
    "END": lambda body: decode_timings(parse(pb.Timings, body)),
    "ERROR": lambda body: decode_error(body, "node:1"),
    "CREDIT": decode_credit,
}
"""What reads the body of each kind of frame; WireError and its like are all that may come."""
