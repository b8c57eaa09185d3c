from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.call import Call, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import InvalidInput, PrivacyRefused, WireError
from orchestrator.core.report import ModelReport, NodeReport, ServiceReport
from orchestrator.testing import ManualClock
from orchestrator.wire.messages import (
    decode_call,
    decode_report,
    decode_timings,
    encode_call,
    encode_report,
    encode_timings,
)
from orchestrator.wire.payloads import pack
from policies.facts import PUBLIC, Clearance, Label, Level, Placement
from protos.isthmus.v1 import node_pb2 as pb

hexadecimal = st.sampled_from("0123456789abcdef")
names = st.text(max_size=20)
labels = st.builds(Label, st.sampled_from(Level), st.frozensets(names, max_size=3))
clearances = st.builds(
    Clearance, st.sampled_from(Level), st.none() | st.frozensets(names, max_size=3)
)
counts = st.integers(0, 2**31)
whole = st.integers(0, 10**9).map(float)
spans = st.integers(0, 10**12).map(lambda microseconds: microseconds / 1e3)
calls = st.builds(
    Call,
    id=st.text(hexadecimal, min_size=16, max_size=16),
    trace=st.text(hexadecimal, min_size=32, max_size=32),
    service=names,
    version=names,
    arguments=st.dictionaries(names, st.integers() | st.text()),
    label=labels,
    deadline=st.builds(Deadline, st.floats(1000.001, 1e6), st.just(ManualClock())),
    placement=st.just(Placement("edge")),
    stream=st.booleans(),
    idempotent=st.just(False),
    attempt=st.integers(1, 100),
)
reports = st.builds(
    NodeReport,
    name=names,
    tier=st.sampled_from(["edge", "cloud"]),
    state=st.sampled_from(["starting", "ready", "draining", "blocked"]),
    clearance=clearances,
    software=names,
    device=names,
    waiting=counts,
    parallelism=st.integers(1, 1000),
    uptime_ms=whole,
    services=st.lists(
        st.builds(ServiceReport, names, names, names, st.booleans(), whole), max_size=3
    ).map(tuple),
    models=st.lists(
        st.builds(ModelReport, names, names, names, st.booleans(), names), max_size=3
    ).map(tuple),
)


def received(message: pb.InvokeRequest, stream: bool = False, seconds: float = 30.0) -> Call:
    again = pb.InvokeRequest.FromString(message.SerializeToString())
    return decode_call(again, "edge", stream, seconds, ManualClock(), 2**20)


def request(**changes: Any) -> pb.InvokeRequest:
    fields: dict[str, Any] = {
        "service": "echo",
        "label": pb.Label(level=pb.LEVEL_PUBLIC),
        "arguments": pb.Payload(json="{}"),
    }
    return pb.InvokeRequest(**(fields | changes))


@given(calls)
def test_a_call_arrives_as_it_was_sent(call: Call) -> None:
    got = received(encode_call(call, pack(call.arguments)), call.stream)
    for name in ("id", "trace", "service", "version", "arguments", "label", "stream", "attempt"):
        assert getattr(got, name) == getattr(call, name)
    assert got.deadline.left() == pytest.approx(call.deadline.left(), abs=2e-6)


def test_a_public_label_is_public_itself_so_that_it_is_known_at_once() -> None:
    assert received(request()).label is PUBLIC
    assert (
        received(request(label=pb.Label(level=pb.LEVEL_PUBLIC, categories=["x"]))).label != PUBLIC
    )


def test_a_call_without_a_label_is_refused_with_the_cure() -> None:
    assert received(request()).label == Label()  # the same request with a label passes
    for label in (None, pb.Label(), pb.Label(level=pb.LEVEL_UNSPECIFIED, categories=["pii"])):
        with pytest.raises(InvalidInput, match=r"no label: set label\.level"):
            received(request(label=label))


@pytest.mark.parametrize("number", [5, 99, -1, -5])
def test_an_unknown_level_is_refused_for_privacy(number: int) -> None:
    with pytest.raises(PrivacyRefused, match="a label has an unknown level"):
        received(request(label=pb.Label(level=number)))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "null", "[]", "1", '"x"', '{"$bytes": 0}'])
def test_arguments_that_are_no_object_are_a_wire_error(text: str) -> None:
    payload = pb.Payload(json=text, attachments=[pb.Attachment(blob=b"")])
    with pytest.raises(WireError):
        received(request(arguments=payload))


@pytest.mark.parametrize(
    "foreign", ["", "x", "A" * 16, "0" * 17, "0" * 15 + "\n", "x\nERROR forged"]
)
def test_ids_of_strangers_that_could_spoil_a_log_are_replaced(foreign: str) -> None:
    call = received(request(call_id=foreign, trace_parent=f"00-{foreign}-{foreign}-01"))
    assert (call.id, call.trace) == ("0" * 16, "0" * 32)


def test_a_call_that_says_nothing_of_time_gets_the_time_of_its_rpc() -> None:
    assert received(request(), seconds=3.0).deadline.left() == pytest.approx(3.0)


def test_a_call_whose_time_is_up_stays_so_on_the_wire() -> None:
    assert received(request(timeout_us=-1)).deadline.left() < 0


@pytest.mark.parametrize("seconds", [4e-7, 0.0, -4e-7])
def test_a_call_with_next_to_no_time_left_gets_no_fresh_time_from_the_node(
    call_of: Callable[..., Call], seconds: float
) -> None:
    call = call_of(seconds=seconds, clock=ManualClock())
    assert received(encode_call(call, pack({}))).deadline.left() <= 1e-6


@given(reports)
def test_a_report_arrives_as_it_was_sent(report: NodeReport) -> None:
    message = pb.NodeReport.FromString(encode_report(report).SerializeToString())
    assert decode_report(message) == report


def test_a_report_without_parallelism_counts_as_one_call_at_a_time() -> None:
    message = pb.NodeReport(tier="edge", state=pb.NodeReport.STATE_READY)
    message.clearance.level = pb.LEVEL_PUBLIC
    assert decode_report(message).parallelism == 1


@pytest.mark.parametrize(
    ("tier", "state", "level"),
    [("fog", 2, 1), ("", 2, 1), ("edge", 0, 1), ("edge", 9, 1), ("edge", 2, 0), ("edge", 2, 9)],
)
def test_a_report_that_makes_no_sense_is_a_wire_error(tier: str, state: Any, level: Any) -> None:
    with pytest.raises(WireError):
        decode_report(pb.NodeReport(tier=tier, state=state, clearance=pb.Clearance(level=level)))


@given(st.builds(Timings, spans, spans, spans, counts))
def test_timings_arrive_to_the_microsecond(timings: Timings) -> None:
    got = decode_timings(encode_timings(timings))
    assert got.waiting == timings.waiting
    assert got.node_ms == pytest.approx(timings.node_ms, abs=2e-3)
    assert got.queue_ms == pytest.approx(timings.queue_ms, abs=2e-3)
    assert got.service_ms == pytest.approx(timings.service_ms, abs=2e-3)
