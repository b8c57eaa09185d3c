import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.testing import ManualClock
from orchestrator.wire import frames, outbox
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.frames import PART_BYTES, Buffer, Frame, Kind, SplitBody, decode_message
from orchestrator.wire.memory import SharedMemory
from orchestrator.wire.outbox import Outbox

SMALL = 64 * 1024
"""Larger bodies travel in parts."""


class Writer:
    """The stream under an outbox; while it is held, the other side does not read."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._open = asyncio.Event()
        self._open.set()
        self._once = False

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def pass_one(self) -> None:
        self._open.set()
        self._once = True

    async def write(self, message: bytes) -> None:
        self.messages.append(message)
        await self._open.wait()
        if self._once:
            self._once = False
            self._open.clear()

    def frames(self) -> list[list[tuple[Kind, int, bytes]]]:
        return [list(decode_message(message)) for message in self.messages]

    def whole(self) -> list[Frame]:
        assembler = Assembler(2**30)
        return [frame for message in self.messages for frame in assembler.whole(message)]


class Ticking(ManualClock):
    """A clock that moves a little with every look at it."""

    def __call__(self) -> float:
        self.turn(0.0001)
        return self.now


class Running:
    """An outbox that runs."""

    def __init__(self, outstanding: int, memory: SharedMemory | None = None) -> None:
        self.outstanding = outstanding
        self.writer = Writer()
        self.clock = Ticking()
        self.box = Outbox(self.writer.write, lambda: self.outstanding, self.clock, memory)
        self.task = asyncio.create_task(self.box.run())

    async def turn(self, count: int = 20) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def has_room(self) -> bool:
        waiting = asyncio.create_task(self.box.room())
        await self.turn(5)
        done = waiting.done()
        waiting.cancel()
        return done


@pytest.fixture
async def started() -> AsyncIterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(outstanding: int = 1000, memory: SharedMemory | None = None) -> Running:
        made.append(Running(outstanding, memory))
        return made[-1]

    yield start
    for running in made:
        running.task.cancel()
        with suppress(asyncio.CancelledError):
            await running.task


Start = Callable[..., Running]


async def test_all_that_is_ready_in_one_tick_goes_in_one_message(started: Start) -> None:
    running = started()
    for number in range(1, 11):
        running.box.put(Kind.CALL, number, b"body")
    await running.turn()
    assert running.writer.frames() == [[(Kind.CALL, number, b"body") for number in range(1, 11)]]


async def test_a_frame_that_is_alone_does_not_wait_for_others(started: Start) -> None:
    running = started()
    await running.turn()
    running.box.put(Kind.CALL, 1, b"x")
    await running.turn(3)
    assert running.writer.whole() == [(Kind.CALL, 1, b"x")]


async def test_after_a_pause_a_frame_goes_at_once_however_many_calls_are_under_way(
    started: Start,
) -> None:
    running = started(outstanding=1000)
    for number in (1, 2, 3):
        running.box.put(Kind.CALL, number)
        await running.turn(3)
        assert len(running.writer.messages) == number
        running.clock.turn(1)


async def test_in_a_busy_moment_frames_of_some_ticks_share_a_message(started: Start) -> None:
    running = started(outstanding=1000)
    running.box.put(Kind.CALL, 1)
    await running.turn()
    for number in (2, 3, 4):
        running.box.put(Kind.CALL, number)
        await running.turn(1)
    await running.turn()
    assert [len(frames) for frames in running.writer.frames()] == [1, 3]


async def test_a_frame_that_stays_alone_in_a_busy_moment_goes_soon(started: Start) -> None:
    running = started(outstanding=1000)
    running.box.put(Kind.CALL, 1)
    await running.turn()
    before = running.clock.now
    running.box.put(Kind.CALL, 2)
    while len(running.writer.messages) < 2:
        await running.turn(1)
    assert running.clock.now - before < 0.002


async def test_frames_that_come_one_by_one_while_many_calls_wait_cost_little_cpu() -> None:
    async def write(message: bytes) -> None: ...

    costs = []
    for outstanding in (1, 64):
        box = Outbox(write, lambda: outstanding)  # noqa: B023  it is called inside of the loop
        running = asyncio.create_task(box.run())
        began = time.process_time()
        for number in range(300):
            box.put(Kind.RESULT, number, b"x")
            await asyncio.sleep(0.001)
        costs.append(time.process_time() - began)
        running.cancel()
    assert costs[1] < 4 * costs[0]


async def test_a_message_without_frames_is_never_sent(started: Start) -> None:
    running = started(outstanding=1000)
    running.box.put(Kind.CALL, 1)
    await running.turn()
    running.box.put(Kind.CALL, 2)
    await running.turn(2)
    assert running.box.drop(2)
    await running.turn()
    assert running.writer.frames() == [[(Kind.CALL, 1, b"")]]


async def test_what_becomes_ready_while_a_message_is_written_shares_the_next_one(
    started: Start,
) -> None:
    running = started()
    running.writer.hold()
    for number in range(1, 6):
        running.box.put(Kind.CALL, number)
        await running.turn()
    running.writer.release()
    await running.turn()
    assert [len(frames) for frames in running.writer.frames()] == [1, 4]


async def test_at_most_half_of_the_calls_under_way_go_together(started: Start) -> None:
    for outstanding, sizes in ((8, [4, 4]), (9, [5, 3]), (1, [1] * 8), (0, [1] * 8)):
        running = started(outstanding)
        for number in range(1, 9):
            running.box.put(Kind.RESULT, number, b"x")
        await running.turn(40)
        assert [len(frames) for frames in running.writer.frames()] == sizes


async def test_the_ready_chunks_of_one_stream_go_together(started: Start) -> None:
    running = started(outstanding=1)
    for index in range(100):
        running.box.put(Kind.CHUNK, 1, b"%d" % index)
    await running.turn(300)
    assert [body for _, _, body in running.writer.whole()] == [b"%d" % i for i in range(100)]
    assert len(running.writer.messages) <= 50


async def test_no_message_is_much_longer_than_a_part(started: Start) -> None:
    running = started()
    for number in range(1, 41):
        running.box.put(Kind.RESULT, number, bytes(SMALL))
        running.box.put(Kind.RESULT, 100 + number, bytes(5 * PART_BYTES))
    await running.turn(2000)
    assert max(map(len, running.writer.messages)) <= 3 * PART_BYTES
    assert sum(len(body or b"") for _, _, body in running.writer.whole()) == 40 * (
        SMALL + 5 * PART_BYTES
    )


async def test_a_large_body_goes_in_parts_and_arrives_whole(started: Start) -> None:
    running = started()
    for size in (SMALL, SMALL + 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5):
        running.writer.messages.clear()
        body = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
        running.box.put(Kind.RESULT, 1, body)
        await running.turn()
        assert running.writer.whole() == [(Kind.RESULT, 1, body)]
        assert len(running.writer.messages) == -(-size // PART_BYTES)


async def test_a_small_call_waits_for_one_part_of_a_large_one_at_most(started: Start) -> None:
    running = started()
    running.writer.hold()
    running.box.put(Kind.CALL, 1, bytes(40 * PART_BYTES))
    await running.turn()
    running.box.put(Kind.CALL, 2, b"small")
    running.writer.release()
    await running.turn(200)
    second = running.writer.frames()[1]
    assert (Kind.CALL, 2, b"small") in second
    assert running.writer.whole()[0] == (Kind.CALL, 2, b"small")
    assert running.writer.whole()[1][:2] == (Kind.CALL, 1)


puts = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.sampled_from([0, 1, 50, SMALL - 1, SMALL, SMALL + 1, PART_BYTES, 3 * PART_BYTES]),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(puts, st.integers(0, 30))
@example([(1, 0, False), (1, 0, False), (1, SMALL + 1, False)], 1)
def test_the_frames_of_a_call_arrive_in_order_and_nothing_is_lost(
    sent: list[tuple[int, int, bool]], outstanding: int
) -> None:
    async def send() -> list[Frame]:
        running = Running(outstanding)
        for index, (number, size, pause) in enumerate(sent):
            running.box.put(Kind.CHUNK, number, index.to_bytes(2, "big") + bytes(size))
            if pause:
                await running.turn(1)
        running.box.close()
        async with asyncio.timeout(20):
            await running.task
        return running.writer.whole()

    got = asyncio.run(send())
    for call in range(1, 5):
        indexes = [i for i, (number, _, _) in enumerate(sent) if number == call]
        bodies = [body for _, number, body in got if number == call]
        assert bodies == [i.to_bytes(2, "big") + bytes(sent[i][1]) for i in indexes]
    assert len(got) == len(sent)


async def test_a_large_chunk_stays_behind_the_small_ones_before_it(started: Start) -> None:
    running = started(outstanding=1)
    chunks = [b"first", b"second", bytes(2 * SMALL), b"last"]
    for chunk in chunks:
        running.box.put(Kind.CHUNK, 1, chunk)
    await running.turn()
    assert [body for _, _, body in running.writer.whole()] == chunks


async def test_a_call_dropped_before_it_was_sent_leaves_no_trace(started: Start) -> None:
    running = started()
    for number in (1, 2, 3):
        running.box.put(Kind.CALL, number, b"x")
    running.box.put(Kind.OPEN, 4, bytes(3 * PART_BYTES))
    assert running.box.unsent() == {1, 2, 3, 4}
    assert running.box.drop(2)
    assert running.box.drop(4)
    await running.turn()
    assert [number for _, number, _ in running.writer.whole()] == [1, 3]


async def test_a_call_that_was_sent_is_told_apart(started: Start) -> None:
    running = started()
    running.writer.hold()
    running.box.put(Kind.CALL, 1, b"x")
    await running.turn()
    running.box.put(Kind.CALL, 2, b"x")
    assert running.box.unsent() == {2}
    assert not running.box.drop(1)
    assert not running.box.drop(77)
    assert running.box.drop(2)
    assert running.box.unsent() == frozenset()


async def test_a_call_of_which_a_part_was_sent_counts_as_sent_and_its_rest_is_dropped(
    started: Start,
) -> None:
    running = started()
    running.writer.hold()
    running.box.put(Kind.CALL, 1, bytes(20 * PART_BYTES))
    running.box.put(Kind.CALL, 2, bytes(2 * PART_BYTES))
    await running.turn()
    assert running.box.unsent() == {2}
    assert not running.box.drop(1)
    running.box.put(Kind.CANCEL, 1)
    running.writer.release()
    await running.turn()
    ended = [(kind, number) for kind, number, _ in running.writer.whole()]
    assert ended == [(Kind.CANCEL, 1), (Kind.CALL, 2)]
    assert len(running.writer.messages) <= 4


async def test_a_dropped_call_gives_its_room_back(started: Start) -> None:
    running = started()
    running.writer.hold()
    running.box.put(Kind.RESULT, 1, b"x")
    await running.turn()
    assert await running.has_room()
    running.box.put(Kind.RESULT, 2, bytes(40 * PART_BYTES))
    assert not await running.has_room()
    running.box.drop(2)
    assert await running.has_room()


async def test_there_is_no_room_while_much_waits_and_room_again_after(started: Start) -> None:
    running = started()
    running.writer.hold()
    count = 0
    while await running.has_room():
        running.box.put(Kind.RESULT, count := count + 1, bytes(SMALL))
        assert count < 1000
    assert 1 <= count * SMALL / 2**20 <= 16
    running.writer.release()
    await running.turn(500)
    assert await running.has_room()
    assert len(running.writer.whole()) == count


async def test_frames_without_a_body_need_room_too(started: Start) -> None:
    running = started()
    running.writer.hold()
    for number in range(600_000):  # 7.8 MB
        running.box.put(Kind.END, number)
    assert not await running.has_room()


async def test_a_backlog_that_never_ends_does_not_grow(started: Start) -> None:
    running = started(outstanding=20_000)
    running.writer.hold()
    put, backlogs = 0, []
    for _ in range(100):
        while await running.has_room():
            for _ in range(500):
                running.box.put(Kind.RESULT, put := put + 1, bytes(100))
        sent = sum(map(len, running.writer.messages))
        backlogs.append(put * (100 + 13) - sent)
        running.writer.pass_one()
        await running.turn(3)
    assert backlogs[-1] < 1.25 * backlogs[0]


async def test_closing_sends_what_is_there_and_then_ends(started: Start) -> None:
    running = started()
    running.box.put(Kind.RESULT, 1, bytes(5 * PART_BYTES))
    running.box.put(Kind.RESULT, 2, b"x")
    running.box.close()
    async with asyncio.timeout(20):
        await running.task
    assert {number for _, number, _ in running.writer.whole()} == {1, 2}


async def test_closing_an_idle_outbox_ends_it_at_once(started: Start) -> None:
    running = started()
    await running.turn()
    running.box.close()
    async with asyncio.timeout(20):
        await running.task
    assert running.writer.messages == []


async def test_a_stream_that_breaks_ends_the_outbox_with_its_error() -> None:
    async def broken(message: bytes) -> None:
        raise BrokenPipeError

    box = Outbox(broken, lambda: 1)
    box.put(Kind.CALL, 1)
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(box.run(), 20)


# Large bodies side by side


async def test_large_bodies_take_turns_part_by_part(started: Start) -> None:
    running = started()
    sizes = {1: 9 * PART_BYTES, 2: 2 * PART_BYTES, 3: 3 * PART_BYTES}
    for number, size in sizes.items():
        running.box.put(Kind.RESULT, number, bytes(size))
    await running.turn(200)
    order = [number for frames in running.writer.frames() for _, number, _ in frames]
    assert order[:8] == [1, 2, 3, 1, 2, 3, 1, 3]  # the shortest is through first
    assert order[8:] == [1] * 6
    got = {number: len(body or b"") for _, number, body in running.writer.whole()}
    assert got == sizes


async def test_a_body_in_pieces_arrives_as_one_and_they_are_not_joined_before(
    started: Start,
) -> None:
    running = started()
    pieces = [b"a" * 10, b"", b"b" * PART_BYTES, b"c" * (PART_BYTES + 7), b"d"]
    running.box.put(Kind.RESULT, 1, [memoryview(piece) for piece in pieces])
    running.box.put(Kind.RESULT, 2, [b"small", memoryview(b" pieces")])
    running.box.put(Kind.RESULT, 3, [b"one"])
    await running.turn(100)
    got = {number: body for _, number, body in running.writer.whole()}
    assert got == {1: b"".join(pieces), 2: b"small pieces", 3: b"one"}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let bodies beside the largest one have four parts together; return how many bytes."""
    for module in (outbox, frames):
        monkeypatch.setattr(module, "BESIDE_BYTES", 4 * PART_BYTES)
    return 4 * PART_BYTES


async def test_no_more_is_begun_than_the_other_end_has_room_for(
    started: Start, narrow: int
) -> None:
    running = started()
    sizes = [6, 3, 3, 1, 12, 2]  # in parts
    for number, size in enumerate(sizes, 1):
        running.box.put(Kind.RESULT, number, bytes(size * PART_BYTES))
    await running.turn(500)
    under_way: dict[int, int] = {}
    for message in running.writer.frames():
        for kind, number, _ in message:
            under_way[number] = sizes[number - 1] * PART_BYTES
            beside = sum(under_way.values()) - max(under_way.values())
            assert beside <= narrow or sizes[number - 1] == 1
            if kind is Kind.RESULT:
                del under_way[number]
    whole = Assembler(12 * PART_BYTES)
    got = [frame for message in running.writer.messages for frame in whole.whole(message)]
    assert sorted(number for _, number, _ in got) == [1, 2, 3, 4, 5, 6]


async def test_a_body_of_one_part_waits_for_no_room(started: Start, narrow: int) -> None:
    running = started()
    running.box.put(Kind.RESULT, 1, bytes(50 * PART_BYTES))
    running.box.put(Kind.RESULT, 2, bytes(4 * PART_BYTES))
    running.box.put(Kind.RESULT, 3, bytes(40 * PART_BYTES))
    running.box.put(Kind.RESULT, 4, bytes(PART_BYTES))
    await running.turn(500)
    assert [number for _, number, _ in running.writer.whole()] == [4, 2, 1, 3]


async def test_a_begun_body_that_is_given_up_makes_room_at_both_ends(
    started: Start, narrow: int
) -> None:
    running = started()
    running.writer.hold()
    for number in (1, 2, 3):
        running.box.put(Kind.RESULT, number, bytes(20 * PART_BYTES))
    for _ in range(3):
        running.writer.pass_one()
        await running.turn(3)
    begun = {number for message in running.writer.frames() for _, number, _ in message}
    assert begun == {1}  # the others would be too much beside it
    assert not running.box.drop(1)
    running.writer.release()
    await running.turn(500)
    assembler = Assembler(20 * PART_BYTES)
    got = [frame for message in running.writer.messages for frame in assembler.whole(message)]
    assert [(number, len(body or b"")) for _, number, body in got] == [
        (2, 20 * PART_BYTES), (3, 20 * PART_BYTES),
    ]  # fmt: skip
    said = [f for message in running.writer.frames() for f in message if f[1] == 1]
    assert said[-1] == (Kind.PART, 1, b"")


plans = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "drop", "turn"]),
        st.integers(1, 6),
        st.sampled_from([0, 100, SMALL + 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES]),
    ),
    max_size=30,
)


@settings(max_examples=80)
@given(plans)
def test_whatever_is_put_and_dropped_the_other_end_has_room_and_gets_the_rest_whole(
    plan: list[tuple[str, int, int]],
) -> None:
    async def send() -> tuple[list[Frame], dict[int, int], set[int]]:
        running, sizes, dropped = Running(1000), dict[int, int](), set[int]()
        assembler = Assembler(3 * PART_BYTES + 2)
        for index, (what, which, size) in enumerate(plan, 1):
            if what == "put":  # a number for each, as calls have
                sizes[index] = size
                running.box.put(Kind.RESULT, index, index.to_bytes(2, "big") + bytes(size))
            elif what == "drop" and sizes:
                number = list(sizes)[which % len(sizes)]
                running.box.drop(number)
                dropped.add(number)
            else:
                await running.turn(which)
        running.box.close()
        async with asyncio.timeout(20):
            await running.task
        got = [frame for message in running.writer.messages for frame in assembler.whole(message)]
        assert assembler._kept == 0
        assert not assembler._sizes
        return got, sizes, dropped

    with pytest.MonkeyPatch.context() as patch:
        for module in (outbox, frames):
            patch.setattr(module, "BESIDE_BYTES", 4 * PART_BYTES)
        got, sizes, dropped = asyncio.run(send())
    numbers = [number for _, number, _ in got]
    assert len(numbers) == len(set(numbers))
    assert set(sizes) - dropped <= set(numbers) <= set(sizes)
    for _, number, body in got:
        assert body == number.to_bytes(2, "big") + bytes(sizes[number])


class Sharing:
    """An outbox that shares its memory with an end that reads what it writes."""

    def __init__(self, start: Start, size: int = 2**20) -> None:
        self.memory = SharedMemory(size, 2**30)
        self.running = start(memory=self.memory)
        self.box = self.running.box
        self.there = SharedMemory(2**20, 2**30)
        self.there.connect(lambda kind, number, body: self.memory.hear(kind, body))
        self.assembler = Assembler(2**30, self.there)
        self.memory.offer()

    def heard(self) -> list[tuple[Kind, int, bytes]]:
        """Return what came over, every body as a whole."""
        messages, self.running.writer.messages[:] = list(self.running.writer.messages), []
        frames = [frame for message in messages for frame in self.assembler.whole(message)]
        return [
            (
                kind,
                number,
                body + body.rest.tobytes() if isinstance(body, SplitBody) else body or b"",
            )
            for kind, number, body in frames
        ]

    @property
    def in_use(self) -> int:
        return len(self.memory._own._spans._taken)  # type: ignore[union-attr]


def in_pieces(size: int, mark: bytes = b"x") -> list[Buffer]:
    return [b"start", b"\0\0", memoryview(mark * (size - 7))]


async def test_large_bodies_lie_in_shared_memory_once_it_is_shared(started: Start) -> None:
    sharing = Sharing(started)
    sharing.box.put(Kind.CALL, 1, in_pieces(2 * SMALL))  # nobody has opened it yet
    await sharing.running.turn()
    assert sharing.heard() == [(Kind.CALL, 1, b"".join(in_pieces(2 * SMALL)))]
    assert sharing.in_use == 0
    sharing.box.put(Kind.CALL, 2, in_pieces(2 * SMALL))
    sharing.box.put(Kind.CALL, 3, in_pieces(100))
    await sharing.running.turn()
    assert sum(map(len, sharing.running.writer.messages)) < 1000
    assert sharing.in_use == 1
    assert sharing.heard() == [
        (Kind.CALL, 2, b"".join(in_pieces(2 * SMALL))),
        (Kind.CALL, 3, b"".join(in_pieces(100))),
    ]


async def test_the_frames_of_a_call_stay_in_order_when_the_memory_is_full(started: Start) -> None:
    sharing = Sharing(started)
    await sharing.running.turn()
    sharing.heard()
    sent = [(Kind.CHUNK, 1, in_pieces(200_000, b"%d" % (index % 10))) for index in range(9)]
    for frame in sent:
        sharing.box.put(*frame)
    sharing.box.put(Kind.END, 1, b"end")
    assert 0 < sharing.in_use < 9  # some lie there, some travel
    await sharing.running.turn(100)
    whole = [(kind, number, b"".join(body)) for kind, number, body in sent]
    assert sharing.heard() == [*whole, (Kind.END, 1, b"end")]


async def test_what_was_dropped_before_it_was_sent_is_not_in_use(started: Start) -> None:
    sharing = Sharing(started)
    await sharing.running.turn()
    sharing.heard()
    sharing.box.put(Kind.CALL, 1, in_pieces(2 * SMALL))
    for index in range(9):  # the last ones travel, so that the others wait before them
        sharing.box.put(Kind.CHUNK, 2, in_pieces(200_000, b"%d" % index))
    assert sharing.in_use > 1
    assert sharing.box.unsent() == {1}
    assert sharing.box.drop(1)
    sharing.box.drop(2)
    assert sharing.in_use == 0
    await sharing.running.turn()
    assert sharing.heard() == []


async def test_memory_that_was_freed_here_goes_with_the_next_message(started: Start) -> None:
    sharing = Sharing(started)
    await sharing.running.turn()
    sharing.memory._release(640)
    sharing.box.put(Kind.CALL, 1, b"x")
    await sharing.running.turn()
    last = [frame for frames in sharing.running.writer.frames() for frame in frames][-2:]
    assert last == [(Kind.CALL, 1, b"x"), (Kind.RELEASE, 0, (640).to_bytes(8, "little"))]
