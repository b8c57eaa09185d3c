import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from orchestrator.core.call import Call, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import InvalidInput, PrivacyRefused, WireError
from orchestrator.testing import ManualClock
from orchestrator.wire.bodies import (
    call_id_in,
    decode_call,
    decode_reply,
    decode_timings,
    decode_value,
    encode_call,
    encode_reply,
    encode_timings,
    encode_value,
)
from orchestrator.wire.payloads import Packed, pack
from orchestrator.wire.tensors import DTYPES
from policies.facts import PUBLIC, Label, Level, Placement
from protos.isthmus.v1 import node_pb2 as pb

MIB = 2**20
hexadecimal = st.sampled_from("0123456789abcdef")
names = st.text(max_size=20)
arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: arrays_of.arrays(
        np.dtype(name), arrays_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
    )
)
parts = st.binary(max_size=40) | arrays
values = st.builds(Packed, st.binary(max_size=40), st.lists(parts, max_size=5).map(tuple))
spans = st.floats(0, 1e8, width=32)
timings = st.builds(Timings, spans, spans, spans, st.integers(0, 2**32 - 1))
calls = st.builds(
    Call,
    id=st.text(hexadecimal, min_size=16, max_size=16),
    trace=st.text(hexadecimal, min_size=32, max_size=32),
    service=names.filter(bool),
    version=names,
    arguments=st.dictionaries(names, st.integers() | st.text() | st.binary() | arrays, max_size=3),
    label=st.builds(Label, st.sampled_from(Level), st.frozensets(names, max_size=3)),
    deadline=st.builds(Deadline, st.floats(1000.001, 1e6), st.just(ManualClock())),
    placement=st.just(Placement("edge")),
    stream=st.booleans(),
    idempotent=st.just(False),
    attempt=st.integers(1, 100),
    depth=st.integers(0, 32),
)


def joined(pieces: list[Any]) -> bytes:
    return b"".join(pieces)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        alike = isinstance(other, np.ndarray) and one.dtype == other.dtype
        return alike and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and bool(one == other)


def same_value(one: Packed, other: Packed) -> bool:
    alike = one.json == other.json and len(one.attachments) == len(other.attachments)
    return alike and all(map(same, one.attachments, other.attachments))


def received(body: bytes, stream: bool = False, seconds: float = 30.0) -> Call:
    return decode_call(body, "edge", stream, seconds, ManualClock(), MIB)


# Round trips


@given(calls)
def test_a_call_arrives_as_it_was_sent(call: Call) -> None:
    body = joined(encode_call(call, pack(call.arguments)))
    got = received(body, call.stream)
    for name in ("id", "trace", "service", "version", "label", "stream", "attempt", "depth"):
        assert getattr(got, name) == getattr(call, name)
    assert got.arguments.keys() == call.arguments.keys()
    assert all(same(got.arguments[name], call.arguments[name]) for name in call.arguments)
    assert got.deadline.left() == pytest.approx(call.deadline.left(), abs=2e-6)
    assert call_id_in(body) == call.id


@given(values, timings)
def test_a_reply_arrives_as_it_was_sent(value: Packed, measured: Timings) -> None:
    body = joined(encode_reply(measured, value))
    got, heard = decode_reply(body)
    assert same_value(got, value)
    for name in ("node_ms", "queue_ms", "service_ms", "waiting"):
        assert getattr(heard, name) == getattr(measured, name)
    assert decode_timings(encode_timings(measured)) == heard


@given(values)
def test_a_value_arrives_as_it_was_sent(value: Packed) -> None:
    assert same_value(decode_value(joined(encode_value(value))), value)


@pytest.mark.parametrize("name", sorted(DTYPES))
@pytest.mark.parametrize(
    "change", [lambda a: a.T, lambda a: a[::-2], lambda a: a.astype(a.dtype.newbyteorder(">"))]
)
def test_arrays_of_any_order_in_memory_arrive_in_rows_and_read_only(name: str, change: Any) -> None:
    array = change(np.arange(24).reshape(4, 6).astype(name))
    (got,) = decode_value(joined(encode_value(Packed(b"0", (array,))))).attachments
    assert isinstance(got, np.ndarray)
    assert (got == array).all()
    assert got.flags.c_contiguous
    assert not got.flags.writeable
    assert got.dtype == np.dtype(name)


@given(values, st.integers(0, 40))
def test_the_data_of_every_attachment_is_aligned(value: Packed, head: int) -> None:
    body = joined(encode_call(call_named("x" * (head + 1)), value))
    start = struct.unpack_from("<H", body, 12)[0] + 38
    decoded = decode_value(body, start)
    assert same_value(decoded, value)
    for part in decoded.attachments:
        if isinstance(part, np.ndarray) and part.size:
            memory = np.frombuffer(body, np.uint8)
            assert (address(part) - address(memory)) % 16 == 0
            assert np.shares_memory(part, memory)  # and was not copied


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def call_named(service: str, label: Label = PUBLIC) -> Call:
    deadline = Deadline.after(1.0, ManualClock())
    return Call(
        "0" * 16, "0" * 32, service, "v1", {}, label, deadline, Placement("edge"), False, False
    )  # fmt: skip


# The protocol's own words


ELEMENTS = [
    "bool", "complex128", "complex64", "float16", "float32", "float64", "int16", "int32", "int64",
    "int8", "uint16", "uint32", "uint64", "uint8",
]  # fmt: skip


def read_value(body: bytes, place: int) -> tuple[bytes, list[Any]]:
    """Read a value as node.proto says, with nothing of the code that wrote it."""
    length, count = struct.unpack_from("<IH", body, place)
    place += 6
    said: list[tuple[Any, tuple[int, ...]]] = []
    for _ in range(count):
        if body[place] == 0:
            said.append((bytes, (struct.unpack_from("<Q", body, place + 1)[0],)))
            place += 9
        else:
            element, axes = body[place + 1], body[place + 2]
            said.append(
                (np.dtype(ELEMENTS[element]), struct.unpack_from(f"<{axes}q", body, place + 3))
            )
            place += 3 + 8 * axes
    json, got = body[place : place + length], []
    place += length
    for kind, shape in said:
        place = (place + 15) // 16 * 16
        size = int(np.prod(shape, dtype=object)) * (1 if kind is bytes else kind.itemsize)
        data = body[place : place + size]
        got.append(data if kind is bytes else np.frombuffer(data, kind).reshape(shape))
        place += size
    assert place == len(body)
    return json, got


@given(values, timings)
def test_a_reader_who_knows_the_protocol_alone_reads_a_reply(value: Packed, sent: Timings) -> None:
    body = joined(encode_reply(sent, value))
    said = struct.unpack_from("<fffI", body)
    assert said == (sent.node_ms, sent.queue_ms, sent.service_ms, sent.waiting)
    json, got = read_value(body, 16)
    assert json == value.json
    assert all(map(same, value.attachments, got))


@given(calls)
def test_a_reader_who_knows_the_protocol_alone_reads_a_call(call: Call) -> None:
    packed = pack(call.arguments)
    body = joined(encode_call(call, packed))
    left, attempt, depth, length = struct.unpack_from("<QHHH", body)
    head = pb.CallHead.FromString(body[38 : 38 + length])
    assert (body[14:30].hex(), body[30:38].hex()) == (call.trace, call.id)
    assert (attempt, depth, left) == (
        call.attempt, call.depth, pytest.approx(call.deadline.left() * 1e6, abs=1),
    )  # fmt: skip
    assert (head.service, head.version, head.label.level) == (
        call.service, call.version, call.label.level + 1,
    )  # fmt: skip
    assert sorted(head.label.categories) == sorted(call.label.categories)
    json, got = read_value(body, 38 + length)
    assert json == packed.json
    assert all(map(same, packed.attachments, got))


def test_heads_of_calls_that_have_all_in_common_are_the_same_bytes() -> None:
    label = Label(Level.SECRET, frozenset("abcdefgh"))
    one, other = (joined(encode_call(call_named("echo", label), pack(n))) for n in (1, 2))
    length = struct.unpack_from("<H", one, 12)[0]
    assert one[38 : 38 + length] == other[38 : 38 + length]


# What makes no sense


def refused(body: bytes) -> bool:
    """Say whether a call is refused, and only as a call may be."""
    try:
        received(body)
    except (WireError, InvalidInput, PrivacyRefused):
        return True
    return False


@given(calls, st.data())
@example(call_named("echo"), None)
def test_a_call_that_ends_early_or_late_is_refused(call: Call, draw: Any) -> None:
    body = joined(encode_call(call, pack(call.arguments)))
    assert not refused(body)  # the positive control
    cuts = range(len(body)) if draw is None else [draw.draw(st.integers(0, len(body) - 1))]
    assert all(refused(body[:cut]) for cut in cuts)
    assert refused(body + b"\0")


@given(values, st.data())
def test_a_value_or_reply_that_ends_early_or_late_is_a_wire_error(
    value: Packed, draw: st.DataObject
) -> None:
    for body, read in (
        (joined(encode_value(value)), decode_value),
        (joined(encode_reply(Timings(), value)), decode_reply),
    ):
        read(body)  # the positive control
        for wrong in (body[: draw.draw(st.integers(0, len(body) - 1))], body + b"\0"):
            with pytest.raises(WireError):
                read(wrong)


mutations = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)


@given(calls, mutations)
def test_whatever_a_stranger_changes_in_a_call_is_read_or_refused(
    call: Call, changes: list[tuple[int, int]]
) -> None:
    body = bytearray(joined(encode_call(call, pack(call.arguments))))
    for place, byte in changes:
        body[place % len(body)] = byte
    assert refused(bytes(body)) in (True, False)


@given(values, mutations)
def test_whatever_a_stranger_changes_in_a_value_is_read_or_a_wire_error(
    value: Packed, changes: list[tuple[int, int]]
) -> None:
    body = bytearray(joined(encode_value(value)))
    for place, byte in changes:
        body[place % min(len(body), 60)] = byte
    with suppress(WireError):
        assert decode_value(bytes(body)).size <= len(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_a_reply_or_refused(body: bytes) -> None:
    assert refused(body) in (True, False)
    with suppress(WireError):
        decode_reply(body)


def value_of(*described: bytes, data: bytes = b"", json: bytes = b"0") -> bytes:
    start = struct.pack("<IH", len(json), len(described)) + b"".join(described) + json
    return start + bytes(-len(start) % 16) + data


def tensor(element: int, *axes: int) -> bytes:
    return struct.pack(f"<BBB{len(axes)}q", 1, element, len(axes), *axes)


FLOAT32 = ELEMENTS.index("float32")


def test_the_shape_that_the_next_test_spoils_is_one_that_passes() -> None:
    (array,) = decode_value(value_of(tensor(FLOAT32, 2, 2), data=bytes(16))).attachments
    assert same(array, np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    "body",
    [
        value_of(tensor(FLOAT32, 2, 3), data=bytes(16)),
        value_of(tensor(FLOAT32, 1, 3), data=bytes(16)),
        value_of(tensor(FLOAT32, -2, -2), data=bytes(16)),
        value_of(tensor(FLOAT32, 2**62, 4), data=bytes(16)),
        value_of(tensor(FLOAT32, 2**32, 2**32), data=b""),
        value_of(tensor(FLOAT32, 2**62, 0, 2**62), data=b""),
        value_of(tensor(FLOAT32, *[1] * 33), data=bytes(4)),
        value_of(tensor(len(ELEMENTS), 4), data=bytes(16)),
        value_of(tensor(255, 4), data=bytes(16)),
        value_of(tensor(0, 2), data=b"\1\2"),  # bool
        value_of(b"\2" + tensor(FLOAT32, 4)[1:], data=bytes(16)),
        value_of(struct.pack("<BQ", 0, 2**63), data=bytes(16)),
        value_of(struct.pack("<BQ", 0, 17), data=bytes(16)),
        struct.pack("<IH", 2**32 - 1, 0) + b"0",
        struct.pack("<IH", 2**32 - 1, 1) + tensor(FLOAT32, 0) + b"0",
        struct.pack("<IH", 0, 2**16 - 1),
    ],
)
def test_attachments_that_do_not_fit_are_a_wire_error_and_take_no_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode_value(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_timings_arrive_to_some_parts_in_ten_million() -> None:
    sent = Timings(123.456789, 0.001, 3.6e6, 7)
    got = decode_timings(encode_timings(sent))
    assert (got.node_ms, got.queue_ms, got.service_ms) == pytest.approx(
        (sent.node_ms, sent.queue_ms, sent.service_ms), rel=1e-6
    )


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -1.0, 1e10])
@pytest.mark.parametrize("place", range(3))
def test_timings_that_are_no_times_are_a_wire_error(wrong: float, place: int) -> None:
    times = [1.0, 1.0, 1.0]
    decode_timings(struct.pack("<fffI", *times, 0))  # the positive control
    times[place] = wrong
    with pytest.raises(WireError):
        decode_reply(struct.pack("<fffI", *times, 0) + value_of())


def test_a_call_without_label_or_service_or_with_an_unknown_level_is_refused() -> None:
    public = pb.Label(level=pb.LEVEL_PUBLIC)
    assert received(with_head(pb.CallHead(service="echo", label=public))).label == PUBLIC
    for head, kind in (
        (pb.CallHead(service="echo"), InvalidInput),
        (pb.CallHead(service="echo", label=pb.Label()), InvalidInput),
        (pb.CallHead(label=public), WireError),
        (pb.CallHead(service="echo", label=pb.Label(level=9)), PrivacyRefused),  # type: ignore[arg-type]
    ):
        for _ in range(2):  # a refusal is not remembered as a head
            with pytest.raises(kind):
                received(with_head(head))


def with_head(head: pb.CallHead, timeout: int = 1, value: bytes = b"\2\0\0\0\0\0{}") -> bytes:
    data = head.SerializeToString()
    return struct.pack("<QHHH24s", timeout, 1, 0, len(data), bytes(24)) + data + value


ECHO = pb.CallHead(service="echo", label=pb.Label(level=pb.LEVEL_PUBLIC))


def test_a_call_that_says_nothing_of_its_time_has_that_of_the_node() -> None:
    assert received(with_head(ECHO, timeout=0), seconds=3.0).deadline.left() == 3.0
    assert received(with_head(ECHO, timeout=2**64 - 1)).deadline.left() > 1e12


@pytest.mark.parametrize("seconds", [4e-7, 0.0, -5.0])
def test_a_call_with_next_to_no_time_left_gets_no_fresh_time_from_the_node(
    call_of: Callable[..., Call], seconds: float
) -> None:
    body = joined(encode_call(call_of(seconds=seconds, clock=ManualClock()), pack({})))
    assert received(body).deadline.left() <= 2e-6


def test_arguments_above_the_most_that_a_node_takes_are_refused_with_the_cure() -> None:
    for size, passes in ((MIB - 100, True), (MIB, False)):
        body = joined(encode_call(call_named("echo"), pack({"data": bytes(size)})))
        if passes:
            assert len(received(body).arguments["data"]) == size
        else:
            with pytest.raises(InvalidInput, match="raise max_call_mib"):
                received(body)


def test_an_id_that_is_not_there_is_empty() -> None:
    assert call_id_in(b"") == call_id_in(bytes(37)) == ""
    assert call_id_in(bytes(38)) == "0" * 16


def test_a_label_too_long_for_a_head_is_refused_at_the_caller() -> None:
    for length, passes in ((60_000, True), (70_000, False)):
        call = call_named("echo", Label(Level.SECRET, frozenset({"x" * length})))
        if passes:
            assert received(joined(encode_call(call, pack({})))).label == call.label
        else:
            with pytest.raises(InvalidInput, match="label is too long"):
                encode_call(call, pack({}))


def test_long_heads_of_strangers_stay_in_no_memory() -> None:
    def flood() -> None:
        for number in range(200):
            categories = [f"{number:08}" * 4000]
            label = pb.Label(level=pb.LEVEL_SECRET, categories=categories)
            received(with_head(pb.CallHead(service="echo", label=label)))

    tracemalloc.start()
    try:
        flood()
        assert tracemalloc.get_traced_memory()[0] < MIB  # what is kept of 6 MiB
    finally:
        tracemalloc.stop()


# What waits to be sent


def test_an_answer_is_what_the_body_gave_whatever_becomes_of_its_array() -> None:
    array = np.zeros(100_000)
    for pieces in (
        encode_reply(Timings(), pack(array)),
        encode_value(pack(array)),
        encode_value(pack([array[::2], array.astype(">f8")])),
    ):
        before = joined(pieces)
        array += 1
        assert joined(pieces) == before


def test_the_large_arrays_of_a_call_are_not_copied_since_their_caller_waits() -> None:
    array = np.zeros(1_000_000)
    packed = pack({"array": array})
    tracemalloc.start()
    try:
        pieces = encode_call(call_named("echo"), packed)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert len(joined(pieces)) > array.nbytes
