"""The bodies of frames as both ends write and read them: the one place here that knows them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.core.call import Call, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.wire.bodies import (
    decode_call,
    decode_reply,
    decode_timings,
    decode_value,
    encode_call,
    encode_reply,
    encode_timings,
    encode_value,
)
from orchestrator.wire.messages import decode_credit
from orchestrator.wire.payloads import pack, unpack
from orchestrator.wire.status import decode_error
from policies.facts import PUBLIC, Label, Placement

_SECONDS = 30.0
_MOST_BYTES = 2**20


def call_of(
    service: str,
    seconds: float = _SECONDS,
    stream: bool = False,
    arguments: Mapping[str, Any] | None = None,
    label: Label = PUBLIC,
) -> Call:
    """Return a call, by default a public one without arguments, with so many seconds of time."""
    return Call(
        id="0" * 16, trace="0" * 32, service=service, version="",
        arguments=arguments or {}, label=label,
        deadline=Deadline.after(seconds), placement=Placement("edge"), stream=stream,
    )  # fmt: skip


def call_body(service: str, seconds: float = _SECONDS, **arguments: Any) -> bytes:
    """Return the body of a CALL or an OPEN, public, with so many seconds of time."""
    return b"".join(encode_call(call_of(service, seconds), pack(arguments)))


def result_body(value: Any) -> bytes:
    """Return the body of a RESULT."""
    return b"".join(encode_reply(Timings(), pack(value)))


def chunk_body(value: Any) -> bytes:
    """Return the body of a CHUNK."""
    return b"".join(encode_value(pack(value)))


def end_body() -> bytes:
    """Return the body of an END."""
    return encode_timings(Timings())


def _read_call(body: bytes) -> object:
    return decode_call(body, "edge", False, _SECONDS, time.monotonic, _MOST_BYTES)


READERS: Mapping[str, Callable[[bytes], object]] = {
    "CALL": _read_call,
    "RESULT": lambda body: unpack(decode_reply(body)[0]),
    "CHUNK": lambda body: unpack(decode_value(body)),
    "END": decode_timings,
    "ERROR": lambda body: decode_error(body, "node:1"),
    "CREDIT": decode_credit,
}
"""What reads the body of each kind of frame; WireError and its like are all that may come."""
