from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import WireError
from orchestrator.wire.frames import (
    Kind,
    decode_message,
    encode_frame,
    encode_message,
    encode_report_message,
    report_in,
)
from protos.isthmus.v1 import node_pb2 as pb
from tests.orchestrator.wire.framing import frames, message, numbers, wrapped


@given(st.lists(frames))
def test_frames_come_out_as_they_went_in(sent: list[tuple[Kind, int, bytes]]) -> None:
    assert list(decode_message(message(*sent))) == sent


@given(frames, st.data())
def test_a_message_that_ends_inside_of_a_frame_is_a_wire_error(
    frame: tuple[Kind, int, bytes], draw: st.DataObject
) -> None:
    data = message(frame)
    assert list(decode_message(data)) == [frame]  # the positive control
    with pytest.raises(WireError):
        list(decode_message(data[: draw.draw(st.integers(1, len(data) - 1))]))


@given(numbers, st.binary(max_size=200))
def test_a_report_is_told_from_all_other_messages(number: int, body: bytes) -> None:
    assert report_in(encode_report_message(number, body)) == (number, body)
    for kind in set(Kind) - {Kind.REPORT}:
        assert report_in(message((kind, number, body))) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_none_or_a_wire_error(data: bytes) -> None:
    with suppress(WireError):
        report = report_in(data)
        assert report is None or data.endswith(encode_frame(Kind.REPORT, *report))


@pytest.mark.parametrize("more", [b"?", encode_frame(Kind.REPORT, 2), encode_frame(Kind.CALL, 1)])
def test_a_report_is_alone_in_its_message(more: bytes) -> None:
    frame = encode_frame(Kind.REPORT, 1, b"x")
    for wrong in ([frame, more], [frame[:-1]], [encode_frame(Kind.REPORT, 1, bytes(2**20))]):
        with pytest.raises(WireError):
            report_in(encode_message(wrong))


@pytest.mark.parametrize("code", [0, 14, 255])
def test_a_frame_of_an_unknown_kind_is_a_wire_error(code: int) -> None:
    data = bytearray(encode_frame(Kind.CALL, 1, b"x"))
    data[4] = code
    with pytest.raises(WireError):
        list(decode_message(wrapped(bytes(data))))


def test_the_frames_before_a_damaged_one_are_not_lost() -> None:
    heard = decode_message(wrapped(encode_frame(Kind.CALL, 1, b"x") + b"?"))
    assert next(heard) == (Kind.CALL, 1, b"x")
    with pytest.raises(WireError):
        next(heard)


@given(st.lists(frames, max_size=5), st.data())
def test_a_message_is_what_protobuf_writes_and_reads(
    sent: list[tuple[Kind, int, bytes]], draw: st.DataObject
) -> None:
    frames = b"".join(encode_frame(*frame) for frame in sent)
    theirs = pb.SessionMessage(frames=frames).SerializeToString()
    assert list(decode_message(theirs)) == sent
    assert pb.SessionMessage.FromString(message(*sent)).frames == frames
