"""One table between our errors and gRPC's status codes, both ways.

An error travels as its gRPC code, its fixed public sentence, and a google.rpc.ErrorInfo in
the standard `grpc-status-details-bin` trailer: our code, the node, the call, and words only
where they are made of names, types and sizes.
"""

from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from orchestrator.core import errors
from orchestrator.core.errors import CallError, EndpointUnavailable, ServiceFailed

DOMAIN = "isthmus.v1"
DETAILS = "grpc-status-details-bin"

_MOST_BYTES = 2000
"""The longest word in a trailer: gRPC drops a status whose metadata passes 8 KiB."""

TABLE: dict[type[CallError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.AccessDenied: grpc.StatusCode.UNAUTHENTICATED,
    errors.NoRoute: grpc.StatusCode.NOT_FOUND,
    errors.PrivacyRefused: grpc.StatusCode.PERMISSION_DENIED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.EndpointUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.CircuitOpen: grpc.StatusCode.UNAVAILABLE,
    errors.OutcomeUnknown: grpc.StatusCode.ABORTED,
    errors.ModelUnavailable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AuditUnavailable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ServiceFailed: grpc.StatusCode.UNKNOWN,
    errors.WireError: grpc.StatusCode.INTERNAL,
}
"""Each error's gRPC code."""

_BY_CODE = {kind.code: kind for kind in TABLE}

# What a status means that did not come from a node of ours: from gRPC itself or a proxy.
_FOREIGN: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.UNAUTHENTICATED: errors.AccessDenied,
    grpc.StatusCode.PERMISSION_DENIED: errors.AccessDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
}


def status_of(error: CallError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Return an error's gRPC code, what strangers may read, and its trailer."""
    kind = _kind_of(error)
    return TABLE[kind], kind.public, ((DETAILS, encode_error(error)),)


def encode_error(error: CallError) -> bytes:
    """Return an error as a google.rpc.Status."""
    kind = _kind_of(error)
    words = {"call_id": error.call_id, "node": error.node}
    if error.shareable:
        words["detail"] = str(error)
    if isinstance(error, ServiceFailed):
        words["exception"] = error.exception
    words = {key: _cut(word) for key, word in words.items()}
    details = AnyMessage()
    details.Pack(ErrorInfo(reason=kind.code, domain=DOMAIN, metadata=words))
    status = Status(code=TABLE[kind].value[0], message=kind.public, details=[details])
    return bytes(status.SerializeToString())


def decode_error(data: bytes, node: str) -> CallError:
    """Return a google.rpc.Status as one of our errors; WireError if it is none of them."""
    info = _parse(data)
    return _ours(info, node) if info else errors.WireError(f"{node}: an unknown error", node=node)


def _kind_of(error: CallError) -> type[CallError]:
    return next((known for known in type(error).__mro__ if known in TABLE), errors.WireError)


def error_of(failure: grpc.aio.AioRpcError, node: str) -> CallError:
    """Return a failed RPC as one of our errors.

    Args:
        failure: The failure; the RPC had been handed to an established connection.
        node: The node it went to.
    """
    if info := _error_info(failure):
        return _ours(info, node)
    code, said = failure.code(), failure.details() or ""
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.WireError(f"{node} is no Isthmus node of this version: {said}", node=node)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said:
        return errors.InvalidInput(
            f"a message to or from {node} is too large: raise max_call_mib on both sides", node=node
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded()  # told by gRPC on this side: the node said nothing
    if kind := _FOREIGN.get(code):
        return kind(f"{node}: {code.name}", node=node)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return EndpointUnavailable(f"{node} went away during the call", sent=True, node=node)
    return errors.WireError(f"{node}: {code.name}", node=node)


def is_ours(failure: grpc.aio.AioRpcError) -> bool:
    """Say whether a node told of a failure itself, or is none of this version."""
    return failure.code() is grpc.StatusCode.UNIMPLEMENTED or _error_info(failure) is not None


def _ours(info: ErrorInfo, node: str) -> CallError:
    kind = _BY_CODE[info.reason]
    words = dict(info.metadata)
    known: dict[str, Any] = {"call_id": words.get("call_id", ""), "node": words.get("node") or node}
    if kind is ServiceFailed:
        known["exception"] = words.get("exception", "")
    if kind is errors.Cancelled:
        # The node gave the call up; the caller did not. It may have run in part.
        return EndpointUnavailable(f"{node} gave the call up", sent=True, **known)
    said = words.get("detail") or kind.public
    if kind is ServiceFailed and "detail" not in words:
        said = f"{known['exception']} in the service; {known['node']} has the frames in its log"
    return kind(f"{known['node']}: {said}", **known)


def _cut(word: str) -> str:
    return word.encode()[:_MOST_BYTES].decode(errors="ignore")


def _error_info(failure: grpc.aio.AioRpcError) -> ErrorInfo | None:
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS and isinstance(value, bytes):
            return _parse(value)
    return None


def _parse(trailer: bytes) -> ErrorInfo | None:
    status, info = Status(), ErrorInfo()
    try:
        status.ParseFromString(trailer)
        for part in status.details:
            if part.Unpack(info) and info.domain == DOMAIN and info.reason in _BY_CODE:
                return info
    except (DecodeError, ValueError):
        pass  # a stranger's trailer: the gRPC code says enough
    return None
