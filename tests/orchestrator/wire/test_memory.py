import asyncio
import gc
import struct
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import WireError
from orchestrator.wire import memory
from orchestrator.wire.arena import Arena
from orchestrator.wire.bodies import decode_value, encode_value
from orchestrator.wire.frames import SMALL_BYTES, Kind
from orchestrator.wire.memory import SharedMemory, shared_memory
from orchestrator.wire.payloads import pack, unpack

MIB = 2**20
SHARED = struct.Struct("<BQQ")


class End:
    """One end, and what it has said."""

    def __init__(self, size: int = MIB, most: int = 8 * MIB) -> None:
        self.said: list[tuple[Kind, bytes]] = []
        self.memory = SharedMemory(size, most)
        self.memory.connect(lambda kind, number, body: self.said.append((kind, body)))

    def hear(self, other: "End") -> None:
        """Take what the other end has said."""
        said, other.said = other.said, []
        for kind, body in said:
            self.memory.hear(kind, body)

    def placed(self, value: Any, kind: Kind = Kind.CALL) -> bytes:
        body = self.memory.place(kind, encode_value(pack(value)))
        assert body is not None
        return body

    @property
    def in_use(self) -> int:
        assert self.memory._own is not None
        return len(self.memory._own._spans._taken)


def joined(size: int = MIB, most: int = 8 * MIB) -> tuple[End, End]:
    caller, node = End(size, most), End(size, most)
    caller.memory.offer()
    for _ in range(2):
        node.hear(caller)
        caller.hear(node)
    return caller, node


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def read(end: End, body: bytes) -> Any:
    _, split = end.memory.read(body)
    assert split is not None
    return unpack(decode_value(split))


ARRAY = np.arange(50_000, dtype=np.float64)


async def test_both_ends_share_once_each_has_opened_the_others() -> None:
    caller, node = End(), End()
    pieces = encode_value(pack(ARRAY))
    caller.memory.offer()
    assert caller.memory.place(Kind.CALL, pieces) is None  # nobody has opened it yet
    node.hear(caller)
    assert node.memory.place(Kind.RESULT, pieces) is None
    caller.hear(node)
    assert caller.memory.place(Kind.CALL, pieces) is not None
    node.hear(caller)
    assert node.memory.place(Kind.RESULT, pieces) is not None
    assert caller.said == node.said == []


async def test_values_arrive_in_place_and_read_only_and_bytes_are_copied() -> None:
    for writer, reader in (joined(), joined()[::-1]):
        value = {"a": ARRAY, "b": b"blob" * 100, "c": [np.arange(3, dtype=np.int8), "text"]}
        body = writer.placed(value, Kind.RESULT)
        assert len(body) < 1000
        kind, split = reader.memory.read(body)
        assert split is not None
        assert (kind, split.size) == (Kind.RESULT, len(split) + SHARED.unpack_from(body)[2])
        got = unpack(decode_value(split))
        np.testing.assert_array_equal(got["a"], ARRAY)
        assert (got["b"], got["c"][1]) == (value["b"], "text")
        np.testing.assert_array_equal(got["c"][0], value["c"][0])  # type: ignore[index]
        assert not got["a"].flags.writeable
        assert got["a"].ctypes.data % 64 == 0
        place = SHARED.unpack_from(body)[1]
        writer.memory._own._memory[place + 64 : place + 128] = bytes(64)  # type: ignore[union-attr]
        assert got["b"] == value["b"]
        assert (got["a"] != ARRAY).any()  # the positive control: it was read in place


async def test_memory_is_given_back_when_the_last_array_over_it_is_gone() -> None:
    caller, node = joined()
    got = read(node, caller.placed([ARRAY, ARRAY]))
    kept = got[0][10:20].reshape(2, 5)
    del got
    gc.collect()
    await asyncio.sleep(0.02)
    caller.hear(node)
    assert caller.in_use == 1
    assert kept[1, 0] == 15
    del kept
    await until(lambda: node.said)
    assert [kind for kind, _ in node.said] == [Kind.RELEASE]
    caller.hear(node)
    assert caller.in_use == 0


async def test_an_array_that_dies_in_another_thread_gives_its_memory_back() -> None:
    caller, node = joined()
    held = [read(node, caller.placed(ARRAY))]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    await until(lambda: node.said)
    caller.hear(node)
    assert caller.in_use == 0


async def test_what_is_freed_goes_with_the_next_message_or_a_moment_later() -> None:
    caller, node = joined()
    for _ in range(2):
        read(node, caller.placed(ARRAY))
    await asyncio.sleep(0)
    body = node.memory.released()
    assert len(body) == 16
    caller.memory.hear(Kind.RELEASE, body)
    assert caller.in_use == 0
    await asyncio.sleep(0.02)
    assert node.said == []
    read(node, caller.placed(ARRAY))
    await until(lambda: node.said)


async def test_nobodys_array_is_ever_overwritten() -> None:
    caller, node = joined()
    kept = [read(node, caller.placed(np.full(20_000, number, np.int32))) for number in range(13)]
    assert caller.memory.place(Kind.CALL, encode_value(pack(ARRAY))) is None  # it is full
    for number, array in enumerate(kept):
        assert (array == number).all()


async def test_a_call_that_was_never_sent_leaves_nothing_in_use() -> None:
    caller, _ = joined()
    body = caller.placed(ARRAY)
    assert caller.in_use == 1  # the positive control
    caller.memory.take_back(body)
    assert caller.in_use == 0


async def test_a_long_text_travels_and_a_body_that_is_too_large_is_given_back() -> None:
    caller, node = joined(most=MIB // 4)
    assert caller.memory.place(Kind.CALL, encode_value(pack(["x" * SMALL_BYTES, ARRAY]))) is None
    kind, body = node.memory.read(caller.placed(ARRAY))
    assert (kind, body) == (Kind.CALL, None)
    await until(lambda: node.said)
    caller.hear(node)
    assert caller.in_use == 0


async def test_who_cannot_open_an_arena_says_nothing_and_everything_travels() -> None:
    node, own = End(), Arena(MIB)
    own.opened()
    node.memory.hear(Kind.SHARE, own.ticket)
    assert node.said == []
    assert node.memory.place(Kind.RESULT, encode_value(pack(ARRAY))) is None


async def test_after_the_end_arrays_stay_and_nothing_is_said() -> None:
    caller, node = joined()
    got = read(node, caller.placed(ARRAY))
    caller.memory.close()
    node.memory.close()
    np.testing.assert_array_equal(got, ARRAY)
    del got
    await asyncio.sleep(0.02)
    assert node.said == []


async def test_nothing_is_opened_or_offered_after_the_end() -> None:
    caller, node = End(), End()
    caller.memory.offer()
    node.memory.close()
    node.hear(caller)
    assert (node.memory._own, node.memory._theirs, node.said) == (None, None, [])


async def test_what_only_a_circle_keeps_is_freed_a_moment_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_COLLECT_SECONDS", 0.05)
    caller, node = joined()
    circle: list[Any] = [read(node, caller.placed(ARRAY))]
    circle.append(circle)
    kept = weakref.ref(circle[0])
    gc.disable()
    try:
        del circle
        node.memory.close()
        assert kept() is not None  # the positive control
        await until(lambda: kept() is None)
    finally:
        gc.enable()


# A peer that means harm


@pytest.mark.parametrize(
    "body",
    [b"", b"x" * 16, SHARED.pack(99, 64, 1), SHARED.pack(Kind.CANCEL, 64, 1),
     SHARED.pack(Kind.SHARED, 64, 1), SHARED.pack(Kind.CALL, 0, 1),
     SHARED.pack(Kind.CALL, MIB, 1), SHARED.pack(Kind.CALL, 64, 2**63)],
)  # fmt: skip
async def test_a_shared_frame_that_makes_no_sense_is_a_wire_error(body: bytes) -> None:
    _, node = joined()
    node.memory.read(SHARED.pack(Kind.CALL, 64, 1))  # the positive control
    with pytest.raises(WireError):
        node.memory.read(body)


async def test_frames_of_shared_memory_that_there_is_not_are_wire_errors() -> None:
    end = End()
    for kind in (Kind.SHARE, Kind.RELEASE):
        with pytest.raises(WireError):
            end.memory.hear(kind, b"")
    with pytest.raises(WireError):
        end.memory.read(SHARED.pack(Kind.CALL, 64, 1))


async def test_no_memory_is_freed_twice_or_offered_twice() -> None:
    caller, node = joined()
    place = struct.pack("<Q", SHARED.unpack_from(caller.placed(ARRAY))[1])
    with pytest.raises(WireError):
        caller.memory.hear(Kind.RELEASE, place[:-1])
    caller.memory.hear(Kind.RELEASE, place)
    with pytest.raises(WireError):
        caller.memory.hear(Kind.RELEASE, place)
    with pytest.raises(WireError):
        node.memory.hear(Kind.SHARE, Arena(MIB).ticket)


async def test_a_value_is_refused_unless_all_that_is_checked_stands_in_the_frame() -> None:
    caller, node = joined()
    body = caller.placed(ARRAY)
    assert len(read(node, body)) == len(ARRAY)  # the positive control
    code, place, length = SHARED.unpack_from(body)
    start = body[SHARED.size :]
    for wrong in (
        SHARED.pack(code, place, length) + start[:-1],
        SHARED.pack(code, place, length) + start + b" ",
        SHARED.pack(code, place, length - 1) + start,
        SHARED.pack(code, place, length + 1) + start,
    ):
        with pytest.raises(WireError):
            read(node, wrong)


async def test_no_memory_is_shared_where_the_settings_say_none() -> None:
    assert shared_memory(0, MIB) is None
    assert shared_memory(MIB, MIB) is not None  # the positive control
