"""Calls, labels and reports as messages and back."""

import re
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from orchestrator.core.call import Call, Timings
from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.errors import InvalidInput, WireError
from orchestrator.core.report import ModelReport, NodeReport, ServiceReport, State
from orchestrator.wire.guard import check_size
from orchestrator.wire.payloads import Packed, unpack
from orchestrator.wire.tensors import decode_tensor, encode_tensor
from policies.facts import Clearance, Label, Level, Placement, Tier
from protos.isthmus.v1 import node_pb2 as pb

_CALL_ID = re.compile(r"[0-9a-f]{16}")
_TRACE_PARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_CREDIT = struct.Struct("<I")

HERE: Mapping[Tier, Placement] = {"edge": Placement("edge"), "cloud": Placement("cloud")}
"""The placement of a call that has come to a node of that tier."""

_STATES: tuple[State, ...] = ("starting", "ready", "draining", "blocked")


M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: bytes) -> M:
    """Return bytes as a message; raise WireError if they are none."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise WireError(f"bytes that should be a {kind.__name__} are none") from None


def encode_call(call: Call, packed: Packed) -> pb.InvokeRequest:
    """Return a call as a message."""
    message = pb.InvokeRequest(
        call_id=call.id,
        trace_parent=call.trace_parent,
        service=call.service,
        version=call.version,
        label=encode_label(call.label),
        timeout_us=max(int(call.deadline.left() * 1e6), 1),  # 0 would leave it to the node
        attempt=call.attempt,
        depth=call.depth,
    )
    encode_payload(packed, message.arguments)
    return message


def decode_call(
    message: pb.InvokeRequest,
    tier: Tier,
    stream: bool,
    seconds: float,
    clock: Clock,
    max_bytes: int,
) -> Call:
    """Return a message as a call.

    Args:
        message: The message.
        tier: The tier of the node that received it.
        stream: Whether it asks for a stream.
        seconds: How long a call may take that says nothing.
        clock: The node's clock.
        max_bytes: The most that its arguments may take.

    Raises:
        InvalidInput: It has no label, or is too large.
        WireError: It makes no sense.
    """
    packed = decode_payload(message.arguments)
    check_size(packed, max_bytes)
    trace = _TRACE_PARENT.fullmatch(message.trace_parent)
    seconds = message.timeout_us / 1e6 if message.timeout_us else seconds
    return Call(
        id=call_id_of(message) or "0" * 16,
        trace=trace[1] if trace else "0" * 32,
        service=message.service,
        version=message.version,
        arguments=arguments_of(packed),
        label=decode_label(message),
        deadline=Deadline.after(seconds, clock),
        placement=HERE[tier],
        stream=stream,
        attempt=message.attempt or 1,
        depth=message.depth,
    )


def call_id_of(message: pb.InvokeRequest) -> str:
    """Return the call's id; empty if it is none of ours, since ids stand in logs."""
    return message.call_id if _CALL_ID.fullmatch(message.call_id) else ""


def arguments_of(packed: Packed) -> dict[str, Any]:
    """Return packed arguments by name; raise WireError if they are none."""
    arguments = unpack(packed)
    if not isinstance(arguments, dict):
        raise WireError("the arguments are no JSON object")
    return arguments


def encode_payload(packed: Packed, into: pb.Payload | None = None) -> pb.Payload:
    """Return a packed value as a message, or write it into one: in another it would be copied."""
    message = pb.Payload() if into is None else into
    message.json = packed.json.decode()
    for part in packed.attachments:
        attachment = message.attachments.add()
        if isinstance(part, bytes):
            attachment.blob = part
        else:
            encode_tensor(part, attachment.tensor)
    return message


def decode_payload(message: pb.Payload) -> Packed:
    """Return a message as a packed value; raise WireError if an array in it makes no sense."""
    parts = tuple(
        part.blob if part.WhichOneof("kind") == "blob" else decode_tensor(part.tensor)
        for part in message.attachments
    )
    return Packed(message.json.encode(), parts)


def encode_label(label: Label) -> pb.Label:
    """Return a label as a message."""
    return pb.Label(level=_level_number(label.level), categories=sorted(label.categories))


def decode_label(message: pb.InvokeRequest | pb.CallHead) -> Label:
    """Return the label of a message; raise InvalidInput if it has none."""
    if not message.HasField("label") or message.label.level == pb.LEVEL_UNSPECIFIED:
        raise InvalidInput("the call has no label: set label.level", shareable=True)
    return Label(_level(message.label.level), frozenset(message.label.categories))


def encode_timings(timings: Timings) -> pb.Timings:
    """Return timings as a message."""
    return pb.Timings(
        node_us=int(timings.node_ms * 1e3),
        queue_us=int(timings.queue_ms * 1e3),
        service_us=int(timings.service_ms * 1e3),
        waiting=timings.waiting,
    )


def decode_timings(message: pb.Timings) -> Timings:
    """Return a message as timings."""
    return Timings(
        message.node_us / 1e3, message.queue_us / 1e3, message.service_us / 1e3, message.waiting
    )


def encode_credit(count: int) -> bytes:
    """Return the bytes of a stream that were read as the body of a frame."""
    return _CREDIT.pack(count)


def decode_credit(body: bytes) -> int:
    """Return the body of a frame as bytes that were read; raise WireError if it is none."""
    if len(body) != _CREDIT.size:
        raise WireError("a credit frame has a body of another length")
    return int(_CREDIT.unpack(body)[0])


def encode_report(report: NodeReport) -> pb.NodeReport:
    """Return a node's report as a message."""
    clearance = report.clearance
    return pb.NodeReport(
        name=report.name,
        tier=report.tier,
        state=pb.NodeReport.State.ValueType(_STATES.index(report.state) + 1),
        clearance=pb.Clearance(
            level=_level_number(clearance.level),
            categories=clearance.categories or (),
            all_categories=clearance.categories is None,
        ),
        software=report.software,
        device=report.device,
        waiting=report.waiting,
        parallelism=report.parallelism,
        uptime_us=int(report.uptime_ms * 1e3),
        services=[
            pb.ServiceReport(
                name=service.name,
                version=service.version,
                signature=service.signature,
                stream=service.stream,
                service_us=int(service.service_ms * 1e3),
            )
            for service in report.services
        ],
        models=[
            pb.ModelReport(
                name=model.name,
                version=model.version,
                device=model.device,
                batched=model.batched,
                graph=model.graph,
            )
            for model in report.models
        ],
        socket=report.socket,
        machine=report.machine,
    )


def decode_report(message: pb.NodeReport) -> NodeReport:
    """Return a message as a node's report; raise WireError if it makes no sense."""
    if message.tier not in ("edge", "cloud") or not 1 <= message.state <= len(_STATES):
        raise WireError("a node's report has an unknown tier or state")
    tier: Tier = "edge" if message.tier == "edge" else "cloud"
    clearance = message.clearance
    return NodeReport(
        name=message.name,
        tier=tier,
        state=_STATES[message.state - 1],
        clearance=Clearance(
            _level(clearance.level),
            None if clearance.all_categories else frozenset(clearance.categories),
        ),
        software=message.software,
        device=message.device,
        waiting=message.waiting,
        parallelism=max(message.parallelism, 1),
        uptime_ms=message.uptime_us / 1e3,
        services=tuple(
            ServiceReport(s.name, s.version, s.signature, s.stream, s.service_us / 1e3)
            for s in message.services
        ),
        models=tuple(
            ModelReport(m.name, m.version, m.device, m.batched, m.graph) for m in message.models
        ),
        socket=message.socket,
        machine=message.machine,
    )


def _level_number(level: Level) -> pb.Level.ValueType:
    return pb.Level.ValueType(level + 1)


def _level(number: int) -> Level:
    try:
        return Level(number - 1)
    except ValueError:
        raise WireError("a label has an unknown level") from None
