import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import (
    CallError,
    EndpointUnavailable,
    InvalidInput,
    Overloaded,
    WireError,
)
from orchestrator.wire.frames import CHUNK_BYTES, PART_BYTES, Kind, encode_frame
from orchestrator.wire.messages import decode_credit
from orchestrator.wire.session import Session
from orchestrator.wire.status import encode_error
from policies.facts import Clearance, Level

SECRET = Clearance(Level.SECRET)
MIB = 2**20
Make = Callable[..., tuple[Session, Any]]
Until = Callable[[Callable[[], object]], Awaitable[None]]
ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture
async def joined(new_link: Any) -> AsyncIterator[Make]:
    """Make a caller's session to a node that the test plays: the session and the link."""
    made: list[Session] = []

    def join(capacity: int = 8, most: int = 8 * MIB) -> tuple[Session, Any]:
        link = new_link(capacity)
        made.append(Session(link.caller, "node:1", most))
        return made[-1], link

    yield join
    for session in made:
        async with asyncio.timeout(20):
            await session.aclose()


async def turn(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def start(session: Session, *requests: bytes) -> list["asyncio.Task[bytes]"]:
    tasks = [asyncio.create_task(session.call(request, Deadline.after(60))) for request in requests]
    await turn(5)
    return tasks


async def failed(work: Awaitable[Any], kind: type[CallError] = CallError) -> Any:
    with pytest.raises(kind) as caught:
        async with asyncio.timeout(20):
            await work
    return caught.value


async def given_up(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# Numbers, answers, errors


async def test_calls_are_numbered_from_one_and_no_number_is_used_twice(joined: Make) -> None:
    session, link = joined()
    for number in range(1, 6):
        (task,) = await start(session, b"q")
        assert await link.as_node.hear() == (Kind.CALL, number, b"q")
        await link.as_node.say((Kind.RESULT, number, b"a"))
        await task


async def test_each_call_gets_its_own_answer_in_whatever_order_they_come(joined: Make) -> None:
    session, link = joined()
    tasks = await start(session, *(b"%d" % index for index in range(20)))
    asked = [await link.as_node.hear() for _ in range(20)]
    for _, number, body in reversed(asked):
        await link.as_node.say((Kind.RESULT, number, body + b"!"))
    assert await asyncio.gather(*tasks) == [b"%d!" % index for index in range(20)]


async def test_an_error_of_the_node_arrives_in_its_class_with_node_and_call(joined: Make) -> None:
    session, link = joined()
    (task,) = await start(session, b"q")
    error = Overloaded("full", node="edge-1", call_id="ab", shareable=True)
    await link.as_node.say((Kind.ERROR, 1, encode_error(error)))
    got = await failed(task, Overloaded)
    assert (got.node, got.call_id, str(got)) == ("edge-1", "ab", "edge-1: full")


async def test_an_error_that_makes_no_sense_is_a_wire_error(joined: Make) -> None:
    session, link = joined()
    for number, body in enumerate([b"", b"\xff\xff", b"garbage"], 1):
        (task,) = await start(session, b"q")
        await link.as_node.say((Kind.ERROR, number, body))
        assert type(await failed(task)) is WireError


@pytest.mark.parametrize("kind", [Kind.CHUNK, Kind.END, Kind.CALL, Kind.CREDIT, Kind.CANCEL])
async def test_a_frame_that_answers_no_call_is_a_wire_error_of_that_call(
    joined: Make, kind: Kind
) -> None:
    session, link = joined()
    task, other = await start(session, b"q", b"q")
    await link.as_node.say((kind, 1, b""), (Kind.RESULT, 2, b"a"))
    assert type(await failed(task)) is WireError
    assert await other == b"a"


async def test_an_answer_that_is_too_large_is_invalid_input_and_the_session_lives_on(
    joined: Make,
) -> None:
    session, link = joined(most=2 * PART_BYTES)
    task, other = await start(session, b"q", b"q")
    for _ in range(3):
        await link.as_node.say((Kind.PART, 1, bytes(PART_BYTES)))
    await link.as_node.say((Kind.RESULT, 1, b"end"), (Kind.RESULT, 2, b"a"))
    assert "raise max_call_mib" in str(await failed(task, InvalidInput))
    assert await other == b"a"


async def test_a_second_answer_and_answers_to_nobody_are_ignored(joined: Make) -> None:
    session, link = joined()
    (task,) = await start(session, b"q")
    await link.as_node.say((Kind.RESULT, 99, b"?"), (Kind.RESULT, 1, b"a"), (Kind.RESULT, 1, b"b"))
    assert await task == b"a"
    (task,) = await start(session, b"q")
    await link.as_node.say((Kind.RESULT, 1, b"c"), (Kind.RESULT, 2, b"d"))
    assert await task == b"d"


async def test_a_large_answer_does_not_hold_up_a_small_one(joined: Make) -> None:
    session, link = joined()
    large, small = await start(session, b"q", b"q")
    await link.as_node.say((Kind.PART, 1, bytes(PART_BYTES)), (Kind.RESULT, 2, b"a"))
    assert await asyncio.wait_for(small, 20) == b"a"
    assert not large.done()
    await link.as_node.say((Kind.RESULT, 1, b"end"))
    assert await large == bytes(PART_BYTES) + b"end"


# Leaving


async def test_a_call_that_is_cancelled_before_it_was_sent_never_reaches_the_node(
    joined: Make,
) -> None:
    session, link = joined(capacity=1)
    link.to_node.hold()
    early = await start(session, b"1", b"2")
    await turn()  # one message on its way and one in the hand of the writer
    late, other = await start(session, b"late", b"other")
    await turn()
    await given_up(late)
    link.to_node.release()
    heard = await link.as_node.hear_all()
    assert sorted(body for _, _, body in heard) == [b"1", b"2", b"other"]
    for task in (*early, other):
        await given_up(task)


async def test_a_call_that_is_cancelled_after_it_was_sent_is_cancelled_at_the_node(
    joined: Make,
) -> None:
    session, link = joined()
    (task,) = await start(session, b"q")
    assert (await link.as_node.hear())[0] is Kind.CALL
    await given_up(task)
    assert await link.as_node.hear() == (Kind.CANCEL, 1, b"")
    assert await link.as_node.hear_all() == []


async def test_a_large_call_that_is_cancelled_on_its_way_sends_no_more_of_itself(
    joined: Make,
) -> None:
    session, link = joined(capacity=1)
    (task,) = await start(session, bytes(100 * PART_BYTES))
    await turn()
    await given_up(task)
    heard = await link.as_node.hear_all(500)
    assert [(kind, number) for kind, number, _ in heard] == [(Kind.CANCEL, 1)]
    assert len(link.to_node.passed) <= 4


async def test_an_answer_to_a_call_that_was_left_goes_to_nobody(joined: Make) -> None:
    session, link = joined()
    (task,) = await start(session, b"q")
    await link.as_node.hear()
    await given_up(task)
    (other,) = await start(session, b"q")
    await link.as_node.say((Kind.RESULT, 1, b"late"), (Kind.CHUNK, 1, b"late"))
    await link.as_node.say((Kind.RESULT, 2, b"own"))
    assert await other == b"own"


async def test_an_answer_and_a_cancellation_in_one_moment_leave_the_session_whole(
    joined: Make,
) -> None:
    session, link = joined()
    for number in range(1, 21):
        (task,) = await start(session, b"q")
        await link.as_node.hear()
        await link.as_node.say((Kind.RESULT, number, b"a"))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        await given_up(task)
        await link.as_node.hear_all(5)
    (task,) = await start(session, b"q")
    await link.as_node.say((Kind.RESULT, 21, b"a"))
    assert await task == b"a"


# Streams


def opened(session: Session) -> AsyncGenerator[tuple[Kind, bytes], None]:
    return session.stream(b"q", Deadline.after(60))


async def test_a_stream_gives_its_chunks_and_its_end_and_nothing_is_cancelled(
    joined: Make,
) -> None:
    session, link = joined()
    reading = asyncio.create_task(collect(opened(session)))
    assert await link.as_node.hear() == (Kind.OPEN, 1, b"q")
    await link.as_node.say(*((Kind.CHUNK, 1, b"%d" % index) for index in range(5)))
    await link.as_node.say((Kind.END, 1, b"t"))
    heard = await asyncio.wait_for(reading, 20)
    assert heard == [*((Kind.CHUNK, b"%d" % index) for index in range(5)), (Kind.END, b"t")]
    assert await link.as_node.hear_all() == []


async def collect(source: AsyncGenerator[Any, None]) -> list[Any]:
    return [item async for item in source]


async def test_a_stream_that_is_left_is_cancelled_at_the_node_once(joined: Make) -> None:
    session, link = joined()
    stream = opened(session)
    first = asyncio.create_task(anext(stream))
    await link.as_node.hear()
    await link.as_node.say((Kind.CHUNK, 1, b"x"))
    await first
    await stream.aclose()
    await stream.aclose()
    assert await link.as_node.hear_all() == [(Kind.CANCEL, 1, b"")]


async def test_a_stream_that_nobody_read_was_never_opened(joined: Make) -> None:
    session, link = joined()
    await opened(session).aclose()
    assert await link.as_node.hear_all() == []


async def test_a_stream_that_fails_is_not_cancelled(joined: Make) -> None:
    session, link = joined()
    reading = asyncio.create_task(collect(opened(session)))
    await link.as_node.hear()
    await link.as_node.say((Kind.CHUNK, 1, b"x"), (Kind.ERROR, 1, encode_error(InvalidInput())))
    await failed(reading, InvalidInput)
    assert await link.as_node.hear_all() == []


async def test_a_reader_gives_back_what_it_has_read_and_no_more(joined: Make) -> None:
    session, link = joined(capacity=1000)
    stream, chunk = opened(session), bytes(50_000)
    reading = asyncio.create_task(anext(stream))
    await link.as_node.hear()
    for _ in range(20):  # as many as the window has
        await link.as_node.say((Kind.CHUNK, 1, chunk))
    await reading
    assert await link.as_node.hear_all() == []  # 20 are here, one was read
    for _ in range(18):
        await anext(stream)
    given = [decode_credit(body) for _, _, body in await link.as_node.hear_all()]
    read = 19 * (len(chunk) + CHUNK_BYTES)
    assert read - MIB // 2 < sum(given) <= read
    assert len(given) <= 5  # and not for every chunk a frame
    await stream.aclose()


async def test_a_reader_who_waits_stalls_nobody_else(joined: Make) -> None:
    session, link = joined()
    slow = opened(session)
    first = asyncio.create_task(anext(slow))
    await link.as_node.hear()
    for _ in range(16):
        await link.as_node.say((Kind.CHUNK, 1, bytes(PART_BYTES // 4)))
    await first  # and then it reads no more
    (task,) = await start(session, b"q")
    await link.as_node.say((Kind.RESULT, 2, b"a"))
    assert await asyncio.wait_for(task, 20) == b"a"
    await slow.aclose()


async def test_a_node_that_sends_without_credit_cannot_fill_the_callers_memory(
    joined: Make,
) -> None:
    session, link = joined()
    stream = opened(session)
    first = asyncio.create_task(anext(stream))
    await link.as_node.hear()
    for _ in range(400):  # 100 MiB, of which the window is 1 MiB
        await link.as_node.say((Kind.CHUNK, 1, bytes(PART_BYTES)))
        await turn(3)
    await first
    assert len(link.to_caller.passed) < 100
    assert await failed(collect(stream), CallError)


# The end of a session


async def test_a_lost_session_tells_what_was_sent_from_what_was_not(joined: Make) -> None:
    session, link = joined(capacity=1)
    link.to_node.hold()
    sent = await start(session, b"1")
    await turn()
    in_hand = await start(session, b"2")
    await turn()
    unsent = await start(session, b"3", bytes(3 * PART_BYTES))
    await turn()
    link.lose()
    for task, was_sent in ((sent[0], True), (in_hand[0], True), *((t, False) for t in unsent)):
        error = await failed(task, EndpointUnavailable)
        assert (error.sent, error.retry) == (was_sent, "idempotent" if was_sent else "always")
    assert session.ended


async def test_after_its_end_a_session_takes_no_call(joined: Make) -> None:
    session, link = joined()
    link.lose()
    await turn()
    error = await failed(session.call(b"q", Deadline.after(60)), EndpointUnavailable)
    assert not error.sent
    assert not (await failed(anext(opened(session)), EndpointUnavailable)).sent


async def test_what_came_of_a_stream_before_the_loss_is_given_first(joined: Make) -> None:
    session, link = joined()
    stream = opened(session)
    first = asyncio.create_task(anext(stream))
    await link.as_node.hear()
    await link.as_node.say((Kind.CHUNK, 1, b"1"), (Kind.CHUNK, 1, b"2"))
    await turn()
    link.lose()
    await turn()
    assert [await first, await anext(stream)] == [(Kind.CHUNK, b"1"), (Kind.CHUNK, b"2")]
    assert (await failed(anext(stream), EndpointUnavailable)).sent


async def test_a_node_that_ends_in_order_answers_first(joined: Make) -> None:
    session, link = joined()
    answered, lost = await start(session, b"q", b"q")
    await link.as_node.say((Kind.RESULT, 1, b"a"))
    link.finish()
    assert await answered == b"a"
    assert (await failed(lost, EndpointUnavailable)).sent


@pytest.mark.parametrize("garbage", [b"?", b"\xff" * 40, encode_frame(Kind.RESULT, 1, b"x")[:-1]])
async def test_a_node_that_sends_garbage_loses_its_session(joined: Make, garbage: bytes) -> None:
    session, link = joined()
    tasks = await start(session, b"q", b"q")
    await turn()
    await link.as_node.say_bytes(garbage)
    for task in tasks:
        error = await failed(task, WireError)
        assert (error.node, error.retry) == ("node:1", "idempotent")
    assert session.ended


async def test_a_session_that_ends_for_garbage_ends_its_stream(joined: Make) -> None:
    session, link = joined()
    (task,) = await start(session, b"q")
    await turn()
    await link.as_node.say_bytes(b"?")
    await failed(task, WireError)
    await turn()
    assert link.caller.cancelled


BY_A_PROXY = [
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_session_that_is_cut_leaves_the_outcome_of_sent_calls_unknown(
    joined: Make, code: grpc.StatusCode
) -> None:
    session, link = joined()
    (sent,) = await start(session, b"q")
    await turn()
    link.lose(code)
    assert (await failed(sent)).retry == "idempotent"


@pytest.mark.parametrize("code", BY_A_PROXY)
async def test_whatever_ends_a_session_sent_calls_may_have_run_and_unsent_ones_have_not(
    joined: Make, code: grpc.StatusCode
) -> None:
    session, link = joined(capacity=1)
    link.to_node.hold()
    (sent,) = await start(session, b"1")
    await turn()
    (in_hand,) = await start(session, b"2")
    await turn()
    (unsent,) = await start(session, b"3")
    await turn()
    link.lose(code)
    errors = [await failed(task) for task in (sent, in_hand, unsent)]
    assert {type(error) for error in errors} == {EndpointUnavailable}
    assert [error.sent for error in errors] == [True, True, False]


async def test_calls_that_were_not_sent_may_go_elsewhere_though_the_node_sent_garbage(
    joined: Make,
) -> None:
    session, link = joined(capacity=1)
    link.to_node.hold()
    for body in (b"1", b"2"):
        await start(session, body)
        await turn()
    (unsent,) = await start(session, b"3")
    await turn()
    await link.as_node.say_bytes(b"?")
    assert (await failed(unsent)).retry == "always"


async def test_closing_a_session_ends_its_calls_and_its_stream(joined: Make) -> None:
    session, link = joined()
    (task,) = await start(session, b"q")
    stream = opened(session)
    first = asyncio.create_task(anext(stream))
    await turn()
    await session.aclose()
    for waiting in (task, first):
        assert (await failed(waiting, EndpointUnavailable)).sent
    assert link.caller.cancelled
    assert not (await failed(session.call(b"q", Deadline.after(60)), EndpointUnavailable)).sent
    await session.aclose()


async def test_a_session_that_is_closed_as_soon_as_it_is_made_leaves_no_call_waiting(
    new_link: Any,
) -> None:
    async def call() -> bytes:
        sessions.append(session := Session(new_link().caller, "node:1", MIB))
        return await session.call(b"q", Deadline.after(60))

    sessions: list[Session] = []
    calling = asyncio.create_task(call())
    while not sessions:
        await asyncio.sleep(0)
    await sessions[0].aclose()
    done, _ = await asyncio.wait([calling], timeout=1)
    await given_up(calling) if not done else None
    assert done
    assert sessions[0].ended


async def test_nothing_is_left_of_a_session_that_ended(new_link: Any) -> None:
    before = asyncio.all_tasks()
    link = new_link()
    session = Session(link.caller, "node:1", MIB)
    tasks = await start(session, *[b"q"] * 10)
    await turn()
    link.lose()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()
    await turn()
    assert asyncio.all_tasks() == before
    gone = weakref.ref(session)
    del session, link
    gc.collect()
    assert gone() is None
