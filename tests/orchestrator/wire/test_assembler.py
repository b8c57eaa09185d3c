import itertools
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import WireError
from orchestrator.wire.assembler import Assembler, Budget
from orchestrator.wire.frames import (
    BESIDE_BYTES,
    PART_BYTES,
    Frame,
    Kind,
    SplitBody,
    encode_frame,
    size_of,
)
from tests.orchestrator.wire.framing import (
    HEADER,
    frames,
    message,
    taken,
    whole_frames,
    wrapped,
)


@given(st.binary(max_size=2000) | st.lists(frames).map(lambda sent: message(*sent)), st.data())
def test_any_bytes_are_frames_or_a_wire_error(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for place in draw.draw(st.lists(st.integers(0, max(len(data) - 1, 0)), max_size=3)):
        if damaged:
            damaged[place] = draw.draw(st.integers(0, 255))
    try:
        got = list(Assembler(500).whole(bytes(damaged)))
    except WireError:
        return
    assert all(isinstance(kind, Kind) for kind, _, _ in got)
    assert sum(HEADER + len(body or b"") for _, _, body in got) <= len(damaged)


def test_a_header_that_promises_4_gib_takes_no_memory() -> None:
    def claim() -> None:
        with pytest.raises(WireError):
            list(Assembler(1000).whole(wrapped(b"\xff" * 4 + encode_frame(Kind.PART, 1)[4:])))

    assert taken(claim) < 100_000


def in_parts(number: int, kind: Kind, body: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted({cut % len(body) for cut in cuts} - {0}), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(edges)]
    for piece in pieces[:-1]:
        yield encode_frame(Kind.PART, number, piece)
    yield encode_frame(kind, number, pieces[-1])


@given(
    st.binary(min_size=1, max_size=1000),
    st.lists(st.integers(0, 1000)),
    st.lists(st.lists(whole_frames, max_size=2), max_size=20),
    st.data(),
)
def test_a_body_in_parts_arrives_whole_and_small_frames_pass_between_its_parts(
    body: bytes, cuts: list[int], between: list[list[tuple[Kind, int, bytes]]], draw: st.DataObject
) -> None:
    small = [[frame for frame in group if frame[1] != 7] for group in between]
    pieces = list(in_parts(7, Kind.RESULT, body, cuts))
    assembler = Assembler(1000)
    got: list[Frame] = []
    expected: list[Frame] = []
    for index, piece in enumerate(pieces):
        group = small[index] if index < len(small) else []
        expected += group
        frames = b"".join(encode_frame(*frame) for frame in group) + piece
        got += assembler.whole(wrapped(frames))
    assert got == [*expected, (Kind.RESULT, 7, body)]


@given(st.integers(2, 400), st.lists(st.integers(0, 400), max_size=3))
def test_a_body_of_exactly_the_most_passes_and_one_byte_more_does_not(
    most: int, cuts: list[int]
) -> None:
    for size, passes in ((most, True), (most + 1, False)):
        body = b"x" * size
        data = b"".join(in_parts(1, Kind.CALL, body, [1, *cuts]))
        heard = list(Assembler(most).whole(wrapped(data)))
        assert heard == [(Kind.CALL, 1, body if passes else None)]


def test_a_body_that_is_too_large_is_not_kept_and_the_next_one_arrives() -> None:
    assembler = Assembler(PART_BYTES)
    part = message((Kind.PART, 1, bytes(PART_BYTES)))

    def flood() -> None:
        for _ in range(50):
            assert list(assembler.whole(part)) == []

    assert taken(flood) < 4 * PART_BYTES
    assert list(assembler.whole(message((Kind.CALL, 1, b"end")))) == [(Kind.CALL, 1, None)]
    after = message((Kind.PART, 2, b"a"), (Kind.CALL, 2, b"b"))
    assert list(assembler.whole(after)) == [(Kind.CALL, 2, b"ab")]


def test_a_body_that_was_given_up_is_forgotten() -> None:
    assembler = Assembler(1000)
    data = message((Kind.PART, 1, b"old"), (Kind.PART, 1, b""), (Kind.CALL, 1, b"new"))
    assert list(assembler.whole(data)) == [(Kind.CALL, 1, b"new")]


def test_several_bodies_travel_side_by_side() -> None:
    assembler = Assembler(1000)
    data = message(
        (Kind.PART, 1, b"a"), (Kind.PART, 2, b"x"), (Kind.PART, 1, b"b"), (Kind.CALL, 2, b"y"),
        (Kind.CALL, 1, b"c"),
    )  # fmt: skip
    assert list(assembler.whole(data)) == [(Kind.CALL, 2, b"xy"), (Kind.CALL, 1, b"abc")]


@pytest.mark.parametrize("size", [1, 100_000])
def test_bodies_that_never_end_take_a_bounded_memory(size: int) -> None:
    assembler = Assembler(1_000_000)

    def flood() -> None:
        for number in range(2_000):
            list(assembler.whole(message((Kind.PART, number, bytes(size)))))

    def refused_flood() -> None:
        with pytest.raises(WireError):
            flood()

    assert taken(refused_flood) < 1_000_000 + BESIDE_BYTES + 8_000_000


def test_a_cancel_ends_a_body_that_is_half_there() -> None:
    assembler = Assembler(1000)
    heard = list(assembler.whole(message((Kind.PART, 1, b"half"), (Kind.CANCEL, 1, b""))))
    assert [(kind, number) for kind, number, _ in heard] == [(Kind.CANCEL, 1)]
    after = message((Kind.CALL, 1, b"new"))
    assert list(assembler.whole(after)) == [(Kind.CALL, 1, b"new")]


@pytest.mark.parametrize("part", [b"", b"xy"])
def test_tiny_parts_take_no_more_memory_than_a_body_may_have(part: bytes) -> None:
    assembler = Assembler(100_000)
    parts = wrapped(encode_frame(Kind.PART, 1, part) * 50_000)

    def read() -> None:
        with suppress(WireError):  # to refuse them is right, too
            list(assembler.whole(parts))

    assert taken(read) < 350_000


class FakeMemory:
    """Shared memory that a test plays: it notes what it hears, and every body is one."""

    def __init__(self) -> None:
        self.heard: list[tuple[Kind, bytes]] = []

    def hear(self, kind: Kind, body: bytes) -> None:
        self.heard.append((kind, body))

    def read(self, body: bytes) -> tuple[Kind, SplitBody | None]:
        split = SplitBody(body)
        split.rest = np.zeros(5, np.uint8)
        return Kind.CALL, split


def test_frames_of_shared_memory_go_to_the_memory_and_the_others_stay_in_order() -> None:
    memory = FakeMemory()
    data = message(
        (Kind.SHARE, 0, b"a"), (Kind.CALL, 1, b"b"), (Kind.SHARED, 2, b"c"),
        (Kind.RELEASE, 0, b"d"), (Kind.CALL, 3, b"e"),
    )  # fmt: skip
    heard = list(Assembler(1000, memory).whole(data))
    assert heard == [(Kind.CALL, 1, b"b"), (Kind.CALL, 2, b"c"), (Kind.CALL, 3, b"e")]
    assert memory.heard == [(Kind.SHARE, b"a"), (Kind.RELEASE, b"d")]
    assert [size_of(body) for _, _, body in heard] == [1, 6, 1]


def test_who_shares_no_memory_hears_of_none() -> None:
    assert list(Assembler(1000).whole(message((Kind.SHARE, 0, b"a"), (Kind.RELEASE, 0, b"")))) == []
    with pytest.raises(WireError):
        list(Assembler(1000).whole(message((Kind.SHARED, 1, b""))))


def test_a_body_that_has_begun_in_parts_cannot_go_on_in_shared_memory() -> None:
    data = message((Kind.PART, 1, b"a"), (Kind.SHARED, 1, b"b"))
    with pytest.raises(WireError):
        list(Assembler(1000, FakeMemory()).whole(data))
    other = message((Kind.PART, 1, b"a"), (Kind.SHARED, 2, b"b"))
    assert list(Assembler(1000, FakeMemory()).whole(other)) == [(Kind.CALL, 2, b"b")]


def test_sessions_share_a_budget_for_bodies_under_way() -> None:
    budget = Budget(250)
    first, second = Assembler(200, budget=budget), Assembler(200, budget=budget)
    assert list(first.whole(message((Kind.PART, 1, bytes(150))))) == []
    with pytest.raises(WireError, match="all sessions together"):
        list(second.whole(message((Kind.PART, 1, bytes(150)))))
    assert list(first.whole(message((Kind.CALL, 1, b"end")))) == [
        (Kind.CALL, 1, bytes(150) + b"end")
    ]
    second.close()
    assert list(second.whole(message((Kind.PART, 2, bytes(150))))) == []


def test_a_session_that_ends_gives_back_what_it_kept() -> None:
    budget = Budget(250)
    for _ in range(5):
        assembler = Assembler(200, budget=budget)
        assert list(assembler.whole(message((Kind.PART, 1, bytes(200))))) == []
        assembler.close()
