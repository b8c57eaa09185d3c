import inspect
from collections.abc import Iterable

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from orchestrator.core import errors
from orchestrator.core.errors import CallError, EndpointUnavailable, InvalidInput, ServiceFailed
from orchestrator.wire.status import DETAILS, DOMAIN, TABLE, error_of, status_of

CANARY = "canary-4f1c"


def failed(
    code: grpc.StatusCode, said: str = "", trailer: Iterable[tuple[str, bytes]] = ()
) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*trailer)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, said)


def over_the_wire(error: CallError) -> CallError:
    return error_of(failed(*status_of(error)), "node-address")


def test_every_error_of_a_call_has_its_status() -> None:
    declared = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, CallError) and kind is not CallError
    }
    assert set(TABLE) == declared
    assert len({kind.code for kind in declared}) == len(declared)


@pytest.mark.parametrize("kind", [kind for kind in TABLE if kind is not errors.Cancelled])
def test_an_error_arrives_as_its_own_class_with_call_and_node(kind: type[CallError]) -> None:
    got = over_the_wire(kind(CANARY, call_id="0" * 16, node="edge-1"))
    assert type(got) is kind
    assert (got.call_id, got.node) == ("0" * 16, "edge-1")


def test_a_call_that_the_node_gave_up_may_have_run_in_part() -> None:
    got = over_the_wire(errors.Cancelled(node="edge-1", call_id="0" * 16))
    assert isinstance(got, EndpointUnavailable)
    assert (got.sent, got.retry, got.call_id) == (True, "idempotent", "0" * 16)


def test_an_error_without_a_node_gets_the_address_it_came_from() -> None:
    assert over_the_wire(InvalidInput()).node == "node-address"


@pytest.mark.parametrize("kind", TABLE)
def test_words_travel_only_when_they_are_shareable(kind: type[CallError]) -> None:
    kept, shared = kind(CANARY), kind(CANARY, shareable=True)
    assert CANARY in str(status_of(shared))  # so that the next line means something
    assert CANARY not in str(status_of(kept))
    assert CANARY not in str(over_the_wire(kept))


@pytest.mark.parametrize("kind", TABLE)
def test_strangers_read_the_fixed_sentence(kind: type[CallError]) -> None:
    for error in (kind(CANARY), kind(CANARY, shareable=True, node="edge-1")):
        assert status_of(error)[1] == kind.public


def test_of_a_failed_service_only_the_class_of_its_exception_travels() -> None:
    got = over_the_wire(ServiceFailed(CANARY, exception="KeyError", node="edge-1"))
    assert isinstance(got, ServiceFailed)
    assert got.exception == "KeyError"
    assert str(got) == "edge-1: KeyError in the service; edge-1 has the frames in its log"


def test_a_subclass_travels_as_the_nearest_class_that_the_table_knows() -> None:
    class TooLong(InvalidInput):
        pass

    assert type(over_the_wire(TooLong())) is InvalidInput


def test_a_very_long_message_still_fits_into_the_metadata_that_grpc_carries() -> None:
    _, _, trailer = status_of(InvalidInput("x" * 100_000, shareable=True))
    assert len(trailer[0][1]) < 8 * 1024


FOREIGN = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInput,
    grpc.StatusCode.UNAUTHENTICATED: errors.AccessDenied,
    grpc.StatusCode.PERMISSION_DENIED: errors.AccessDenied,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
    grpc.StatusCode.UNAVAILABLE: errors.EndpointUnavailable,
    grpc.StatusCode.CANCELLED: errors.EndpointUnavailable,
    grpc.StatusCode.UNIMPLEMENTED: errors.WireError,
    grpc.StatusCode.INTERNAL: errors.WireError,
    grpc.StatusCode.UNKNOWN: errors.WireError,
    grpc.StatusCode.DATA_LOSS: errors.WireError,
}


@pytest.mark.parametrize("code", FOREIGN)
def test_a_status_of_a_proxy_becomes_one_of_our_errors(code: grpc.StatusCode) -> None:
    got = error_of(failed(code, CANARY), "node-address")
    assert type(got) is FOREIGN[code]
    assert CANARY not in str(got) or code is grpc.StatusCode.UNIMPLEMENTED
    if code is not grpc.StatusCode.DEADLINE_EXCEEDED:  # that one is told by gRPC on this side
        assert got.node == "node-address"


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_no_status_escapes_the_table(code: grpc.StatusCode) -> None:
    assert isinstance(error_of(failed(code), "node-address"), CallError)


def test_a_connection_lost_during_the_call_says_that_the_call_may_have_run() -> None:
    got = error_of(failed(grpc.StatusCode.UNAVAILABLE), "node-address")
    assert got.retry == "idempotent"


def test_a_message_too_large_for_the_node_names_the_setting() -> None:
    said = "Received message larger than max (9 vs. 8)"
    got = error_of(failed(grpc.StatusCode.RESOURCE_EXHAUSTED, said), "node-address")
    assert isinstance(got, InvalidInput)
    assert "max_call_mib" in str(got)


def trailer(domain: str, reason: str) -> list[tuple[str, bytes]]:
    details = AnyMessage()
    details.Pack(ErrorInfo(domain=domain, reason=reason))
    return [(DETAILS, Status(details=[details]).SerializeToString())]


def broken_trailer() -> list[tuple[str, bytes]]:
    details = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    return [(DETAILS, Status(details=[details]).SerializeToString())]


@pytest.mark.parametrize("strange", [[(DETAILS, b"\xff\xff no status")], broken_trailer()])
def test_a_trailer_that_is_no_message_is_no_error_of_ours(
    strange: list[tuple[str, bytes]],
) -> None:
    got = error_of(failed(grpc.StatusCode.UNAVAILABLE, trailer=strange), "node-address")
    assert isinstance(got, EndpointUnavailable)


@pytest.mark.parametrize(
    "strange",
    [
        [(DETAILS, b"")],
        trailer("somebody.else", "INVALID_INPUT"),
        trailer(DOMAIN, "NOBODY_KNOWS"),
    ],
)
def test_a_trailer_that_is_not_ours_is_no_error_of_ours(
    strange: list[tuple[str, bytes]],
) -> None:
    got = error_of(failed(grpc.StatusCode.UNAVAILABLE, trailer=strange), "node-address")
    assert isinstance(got, EndpointUnavailable)
    ours = failed(grpc.StatusCode.UNAVAILABLE, trailer=trailer(DOMAIN, "INVALID_INPUT"))
    assert isinstance(error_of(ours, "node-address"), InvalidInput)
