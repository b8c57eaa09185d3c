import asyncio
import gc
import logging
import struct
import tracemalloc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    NoRoute,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
    WireError,
)
from orchestrator.core.running import running
from orchestrator.decorators import edge_service
from orchestrator.serving.exchange import Exchange
from orchestrator.serving.node import Node
from orchestrator.serving.server import Binding, Server
from orchestrator.serving.session import NodeSession
from orchestrator.testing import listening
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.frames import (
    CHUNK_BYTES,
    PART_BYTES,
    WINDOW_BYTES,
    Kind,
    encode_frame,
    encode_message,
)
from orchestrator.wire.memory import SharedMemory
from orchestrator.wire.messages import encode_credit
from orchestrator.wire.status import decode_error, error_of
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Level
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

CANARY = "canary-51fc"
MIB = 2**20
PUBLIC = pb.Label(level=pb.LEVEL_PUBLIC)
ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@edge_service(inline=True)
def echo(text: str) -> str:
    ran["echo"] += 1
    ran["chunks when echo ran"] = ran["chunks"]
    return text


@edge_service
async def wait_for_ever() -> None:
    ran["waiting"] += 1
    try:
        await asyncio.Event().wait()
    finally:
        ran["left"] += 1


@edge_service
async def fail(text: str) -> None:
    raise KeyError(text)


@edge_service(inline=True)
def trace() -> str:
    here = running()
    return here.trace if here else ""


@edge_service
async def cancel_its_own_task(wait: bool) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    if wait:
        await asyncio.sleep(0)
    return "cancelled"


@edge_service(inline=True)
def large(size: int) -> bytes:
    return bytes(size)


@edge_service
async def rest(pause: float) -> str:
    ran["resting"] += 1
    await asyncio.sleep(pause)
    return "rested"


@edge_service
async def pour(count: int, length: int) -> AsyncIterator[bytes]:
    try:
        for _ in range(count):
            ran["chunks"] += 1
            yield bytes(length)
            await asyncio.sleep(0)
    finally:
        ran["closed"] += 1


@edge_service
async def pour_at_once(count: int, length: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        ran["chunks"] += 1
        yield bytes(length)


variable: ContextVar[int] = ContextVar("variable", default=0)


@edge_service
async def set_variable(value: int, wait: bool) -> list[int]:
    before = variable.get()
    variable.set(value)
    if wait:
        await asyncio.sleep(0)
    return [before, variable.get()]


@edge_service
async def set_variable_in_a_stream() -> AsyncIterator[int]:
    variable.set(7)
    yield 1


buffer = np.zeros(100_000, np.uint8)


@edge_service(inline=True)
def refill(byte: int) -> np.ndarray:
    buffer[:] = byte
    return buffer


@edge_service
async def refill_often(count: int) -> AsyncIterator[np.ndarray]:
    for byte in range(1, count + 1):
        buffer[:] = byte
        yield buffer


ALL = (
    echo,
    set_variable,
    set_variable_in_a_stream,
    refill,
    refill_often,
    wait_for_ever,
    fail,
    trace,
    cancel_its_own_task,
    large,
    rest,
    pour,
    pour_at_once,
)


def request(
    service: Any,
    json: str = "{}",
    label: pb.Label | None = PUBLIC,
    timeout_us: int = 0,
    trace: str = "0" * 32,
) -> bytes:
    """Return the body of a call, written by hand as the protocol says."""
    name = service if isinstance(service, str) else service.spec.name
    head, text = pb.CallHead(service=name, label=label).SerializeToString(), json.encode()
    ids = bytes.fromhex(trace) + bytes(8)
    start = struct.pack("<QHHH24s", timeout_us, 1, 0, len(head), ids)
    return start + head + struct.pack("<IH", len(text), 0) + text


def text_of(reply: bytes) -> str:
    """Return the JSON in the body of a reply, read by hand as the protocol says."""
    length, attachments = struct.unpack_from("<IH", reply, 16)
    assert not attachments
    assert len(reply) == 22 + length
    return reply[22:].decode()


ECHO = request(echo, '{"text": "x"}')
WAIT = request(wait_for_ever)


def pouring(count: int, length: int, service: Any = pour) -> bytes:
    return request(service, f'{{"count": {count}, "length": {length}}}')


class Served:
    """A session of a node, ended as the servicer ends it, and the caller's end in a test's hand."""

    def __init__(self, node: Node, link: Any, most: int) -> None:
        self.node = node
        self.link = link
        self.caller = link.as_caller
        self.closing = asyncio.Event()
        self.memory = SharedMemory(MIB, most)
        self.session = NodeSession(Exchange(node, most), link.node, most, self.memory)
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            await self.session.run(self.closing)
        except BaseException:
            self.link.finish(grpc.StatusCode.INTERNAL)
            raise
        self.link.finish()

    async def value(self, number: int, body: bytes = ECHO) -> str:
        await self.caller.say((Kind.CALL, number, body))
        kind, answered, reply = await self.caller.hear()
        assert (kind, answered) == (Kind.RESULT, number)
        return text_of(reply)

    async def error(self, number: int) -> CallError:
        kind, answered, body = await self.caller.hear()
        assert (kind, answered) == (Kind.ERROR, number)
        return decode_error(body, "?")

    async def ended(self) -> BaseException | None:
        await self.over()
        return self.task.exception()

    async def over(self) -> None:
        async with asyncio.timeout(20):
            await asyncio.wait([self.task])


Serve = Callable[..., Served]
NodeWith = Callable[..., Any]
Until = Callable[[Callable[[], object]], Awaitable[None]]
Turns = Callable[..., Awaitable[None]]


@pytest.fixture
async def node(node_with: NodeWith) -> AsyncIterator[Node]:
    async with node_with(*ALL, max_in_flight=8) as started:
        yield started


@pytest.fixture
async def serve(node: Node, new_link: Any) -> AsyncIterator[Serve]:
    """Serve a session on a stream in memory."""
    made: list[Served] = []

    def start(capacity: int = 8, most: int = 8 * MIB) -> Served:
        made.append(Served(node, new_link(capacity), most))
        return made[-1]

    yield start
    for served in made:
        served.task.cancel()
        with suppress(asyncio.CancelledError, WireError):
            await served.task


# Answers


async def test_calls_run_side_by_side_and_are_answered_by_number(serve: Serve) -> None:
    served = serve()
    texts = [request(echo, f'{{"text": "{index}"}}') for index in range(5)]
    await served.caller.say(
        (Kind.CALL, 1, WAIT), *((Kind.CALL, 10 + i, text) for i, text in enumerate(texts))
    )
    heard = [await served.caller.hear() for _ in texts]
    assert {
        number: text_of(body) for _, number, body in heard
    } == {10 + index: f'"{index}"' for index in range(5)}  # fmt: skip


async def test_every_refusal_and_failure_comes_as_an_error_of_its_class(serve: Serve) -> None:
    served = serve()
    secret = pb.Label(level=pb.LEVEL_SECRET, categories=["phi"])
    served.node.clearance = Clearance(Level.INTERNAL)
    for number, (body, kind) in enumerate(
        [
            (request("nobody"), NoRoute),
            (request(echo), InvalidInput),
            (request(echo, '{"text": "x"}', label=None), InvalidInput),
            (request(echo, '{"text": "x"}', label=secret), PrivacyRefused),
            (request(echo, '{"text": "x"}', timeout_us=1), DeadlineExceeded),
            (request(echo, "{"), WireError),
            (b"\xff\xff", WireError),
            (request(echo)[:-1], WireError),
            (request(fail, '{"text": "x"}'), ServiceFailed),
            (request(pour), InvalidInput),
            (request(wait_for_ever, timeout_us=50_000), DeadlineExceeded),
        ],
        1,
    ):
        await served.caller.say((Kind.CALL, number, body))
        error = await served.error(number)
        assert (type(error), error.node) == (kind, "node-1")
    assert ran["echo"] == 0
    assert await served.value(100) == '"x"'  # the positive control; the session has lived on


async def test_the_trace_of_a_call_is_that_of_its_body(serve: Serve) -> None:
    served = serve()
    for number, digit in enumerate("ab", 1):
        assert await served.value(number, request(trace, trace=digit * 32)) == f'"{digit * 32}"'


async def test_a_call_that_is_too_large_is_refused_with_a_cure_and_the_next_one_runs(
    serve: Serve,
) -> None:
    served = serve(most=2 * PART_BYTES)
    for _ in range(3):
        await served.caller.say((Kind.PART, 1, bytes(PART_BYTES)))
    await served.caller.say((Kind.CALL, 1, b""))
    error = await served.error(1)
    assert type(error) is InvalidInput
    assert "raise max_call_mib" in str(error)
    assert await served.value(2) == '"x"'


async def test_a_result_that_is_too_large_is_refused_with_a_cure(serve: Serve) -> None:
    served = serve(most=MIB)
    await served.caller.say((Kind.CALL, 1, request(large, f'{{"size": {MIB + 1}}}')))
    assert "raise max_call_mib" in str(await served.error(1))


async def test_an_answer_that_waits_to_be_sent_keeps_what_its_body_gave(serve: Serve) -> None:
    served = serve(capacity=1)
    served.link.to_caller.hold()
    calls = [request(refill, f'{{"byte": {number}}}') for number in range(1, 21)]
    await served.caller.say(*((Kind.CALL, number, body) for number, body in enumerate(calls, 1)))
    while served.node.metrics.calls.total() < 20:
        await asyncio.sleep(0)
    served.link.to_caller.release()
    for _ in range(20):
        _, number, body = await served.caller.hear()
        assert body is not None
        assert set(body[-buffer.size :]) == {number}


async def test_a_chunk_that_waits_to_be_sent_keeps_what_its_body_gave(serve: Serve) -> None:
    served = serve()
    await served.caller.say((Kind.OPEN, 1, request(refill_often, '{"count": 9}')))
    for byte in range(1, 10):
        kind, _, body = await served.caller.hear()
        assert (kind, set((body or b"")[-buffer.size :])) == (Kind.CHUNK, {byte})


async def test_a_call_in_parts_runs_once_it_is_whole_beside_small_ones(serve: Serve) -> None:
    served = serve()
    body = request(echo, '{"text": "%s"}' % ("x" * 300_000))
    await served.caller.say((Kind.PART, 1, body[:100_000]), (Kind.PART, 1, body[100_000:200_000]))
    await served.caller.say((Kind.CALL, 1, body[200_000:]))
    kind, number, reply = await served.caller.hear()
    assert (kind, number) == (Kind.RESULT, 1)
    assert len(text_of(reply)) == 300_002


async def test_a_small_call_may_overtake_the_parts_of_an_earlier_large_one(serve: Serve) -> None:
    served = serve()
    body = request(echo, '{"text": "large"}')
    await served.caller.say((Kind.PART, 1, body[:10]), (Kind.CALL, 2, ECHO))
    assert (await served.caller.hear())[:2] == (Kind.RESULT, 2)
    await served.caller.say((Kind.CALL, 1, body[10:]))
    await asyncio.wait([asyncio.create_task(served.caller.hear()), served.task], timeout=5)
    assert not served.task.done()
    assert ran["echo"] == 2


@pytest.mark.parametrize("waits", ["false", "true"])
async def test_what_a_body_sets_is_seen_by_no_other(serve: Serve, waits: str) -> None:
    served = serve()
    for number in range(1, 6):
        body = request(set_variable, f'{{"value": {number}, "wait": {waits}}}')
        assert await served.value(number, body) == f"[0,{number}]"
    calls = [request(set_variable, f'{{"value": {n}, "wait": {waits}}}') for n in range(11, 21)]
    await served.caller.say(*((Kind.CALL, number, body) for number, body in enumerate(calls, 11)))
    heard = [await served.caller.hear() for _ in calls]
    assert {number: text_of(body or b"") for _, number, body in heard} == {
        number: f"[0,{number}]" for number in range(11, 21)
    }


async def test_what_a_stream_sets_is_seen_by_no_other(serve: Serve) -> None:
    served = serve()
    for number in range(1, 3):
        await served.caller.say((Kind.OPEN, number, request(set_variable_in_a_stream)))
        kinds = [(await served.caller.hear())[0] for _ in range(2)]
        assert kinds == [Kind.CHUNK, Kind.END]
    assert await served.value(5, request(set_variable, '{"value": 5, "wait": false}')) == "[0,5]"


# Leaving


async def test_a_cancel_ends_the_body_and_nothing_else(serve: Serve, until: Until) -> None:
    served = serve()
    await served.caller.say((Kind.CALL, 1, WAIT), (Kind.CALL, 2, WAIT))
    await until(lambda: ran["waiting"] == 2)
    await served.caller.say((Kind.CANCEL, 1, b""))
    await until(lambda: ran["left"] == 1)
    assert served.node.admission.inside == 1
    assert {number for _, number, _ in await served.caller.hear_all()} <= {1}
    assert await served.value(3) == '"x"'


async def test_a_cancel_beside_its_call_ends_it_at_its_first_wait(serve: Serve) -> None:
    served = serve()
    await served.caller.say((Kind.CALL, 1, WAIT), (Kind.CANCEL, 1, b""))
    await served.caller.hear_all()
    assert (ran["left"], served.node.admission.inside) == (ran["waiting"], 0)


async def test_a_cancel_of_an_unknown_or_answered_call_does_nothing(serve: Serve) -> None:
    served = serve()
    await served.caller.say((Kind.CANCEL, 7, b""), (Kind.CREDIT, 7, encode_credit(5)))
    assert await served.value(8) == '"x"'
    await served.caller.say((Kind.CANCEL, 8, b""))
    assert await served.value(9) == '"x"'


async def test_a_cancelled_stream_closes_its_generator(serve: Serve, until: Until) -> None:
    served = serve()
    await served.caller.say((Kind.OPEN, 1, pouring(10**6, 1000)))
    assert (await served.caller.hear())[0] is Kind.CHUNK
    await served.caller.say((Kind.CANCEL, 1, b""))
    await until(lambda: ran["closed"] and not served.node.admission.inside)
    await served.caller.hear_all()
    assert await served.value(2) == '"x"'


@pytest.mark.parametrize("how", ["lost", "cancelled"])
async def test_when_the_caller_has_gone_its_calls_and_streams_end_and_nothing_is_left(
    node: Node, new_link: Any, until: Until, how: str
) -> None:
    before = asyncio.all_tasks()
    served = Served(node, new_link(), MIB)
    await served.caller.say(
        (Kind.CALL, 1, WAIT), (Kind.CALL, 2, WAIT), (Kind.OPEN, 3, pouring(10**6, 10_000))
    )
    await until(lambda: ran["waiting"] == 2 and ran["chunks"])
    served.link.lose() if how == "lost" else served.task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([served.task])
    assert (ran["left"], ran["closed"], node.admission.inside) == (2, 1, 0)
    await until(lambda: asyncio.all_tasks() == before)
    gone = weakref.ref(served.session)
    del served
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("wait", "kind"), [("false", Kind.RESULT), ("true", Kind.ERROR)])
async def test_a_body_that_cancels_its_own_task_ends_no_other_call(
    serve: Serve, until: Until, wait: str, kind: Kind
) -> None:
    served = serve()
    await served.caller.say((Kind.CALL, 1, request(rest, '{"pause": 0.05}')))
    await until(lambda: ran["resting"])
    await served.caller.say((Kind.CALL, 2, request(cancel_its_own_task, f'{{"wait": {wait}}}')))
    heard = [(await served.caller.hear())[:2] for _ in range(2)]
    assert heard == [(kind, 2), (Kind.RESULT, 1)]
    assert await served.value(3) == '"x"'


# Streams


def chunk_bytes(frames: list[Any]) -> int:
    return sum(len(body) + CHUNK_BYTES for kind, _, body in frames if kind is Kind.CHUNK)


async def test_a_stream_that_nobody_reads_stops_at_its_window(serve: Serve, turns: Turns) -> None:
    served = serve(capacity=1000)
    await served.caller.say((Kind.OPEN, 1, pouring(10**6, 10_000)))
    heard = await served.caller.hear_all(1000)
    assert WINDOW_BYTES <= chunk_bytes(heard) <= WINDOW_BYTES + 11_000
    assert ran["chunks"] <= len(heard) + 1
    for credit in (100_000, 300_000):
        await served.caller.say((Kind.CREDIT, 1, encode_credit(credit)))
        more = chunk_bytes(await served.caller.hear_all(1000))
        assert credit - 11_000 <= more <= credit + 11_000


async def test_forged_credits_open_the_window_no_wider(serve: Serve) -> None:
    served = serve(capacity=1000)
    await served.caller.say((Kind.OPEN, 1, pouring(10**6, 10_000)))
    await served.caller.hear_all(1000)
    await served.caller.say(*[(Kind.CREDIT, 1, encode_credit(2**32 - 1))] * 100)
    more = chunk_bytes(await served.caller.hear_all(1000))
    assert 0 < more <= WINDOW_BYTES + 11_000


async def test_credits_without_reading_cannot_fill_the_nodes_memory(serve: Serve) -> None:
    served = serve(capacity=8)
    served.link.to_caller.hold()
    await served.caller.say((Kind.OPEN, 1, pouring(10**6, 10_000)))

    async def forge() -> None:
        while True:
            await served.caller.say((Kind.CREDIT, 1, encode_credit(2**20)))
            await asyncio.sleep(0)

    forging = asyncio.create_task(forge())
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while ran["chunks"] < 3000:  # 30 MB
                await asyncio.sleep(0)
    forging.cancel()
    assert 100 < ran["chunks"] < 2000


async def test_streams_of_one_peer_together_take_a_bounded_memory(serve: Serve) -> None:
    served = serve(capacity=1)
    served.link.to_caller.hold()
    opens = [(Kind.OPEN, number, pouring(10**6, 10_000)) for number in range(1, 9)]
    await served.caller.say(*opens)

    async def forge() -> None:
        while True:
            await served.caller.say(*((Kind.CREDIT, n, encode_credit(MIB)) for n in range(1, 9)))
            await asyncio.sleep(0)

    forging, counts = asyncio.create_task(forge()), [-1, 0]
    async with asyncio.timeout(20):
        while counts[-1] != counts[-2] or not counts[-1]:
            await asyncio.sleep(0.05)
            counts.append(ran["chunks"])
    forging.cancel()
    assert 300 < counts[-1] < 900  # of 10 kB; the windows of all together would be 8 MiB


async def test_an_unread_stream_holds_up_no_other_call_or_stream(serve: Serve) -> None:
    served = serve(capacity=1000)
    await served.caller.say((Kind.OPEN, 1, pouring(10**6, 10_000)))
    await served.caller.hear_all(1000)
    assert await served.value(2) == '"x"'
    await served.caller.say((Kind.OPEN, 3, pouring(3, 10)))
    kinds = [(await served.caller.hear())[:2] for _ in range(4)]
    assert kinds == [(Kind.CHUNK, 3)] * 3 + [(Kind.END, 3)]


async def test_a_stream_obeys_its_deadline_while_its_reader_is_slow(serve: Serve) -> None:
    served = serve(capacity=1000)
    body = request(pour, '{"count": 1000000, "length": 10000}', timeout_us=200_000)
    await served.caller.say((Kind.OPEN, 1, body))
    await served.caller.hear_all(500)
    await asyncio.sleep(0.3)
    await served.caller.say((Kind.CREDIT, 1, encode_credit(2**20)))
    while (frame := await served.caller.hear())[0] is Kind.CHUNK:
        pass
    assert type(decode_error(frame[2], "?")) is DeadlineExceeded


async def test_a_stream_that_is_always_ready_lets_other_calls_through(serve: Serve) -> None:
    served = serve(capacity=1000)
    stream = pouring(10**6, 1000, pour_at_once)
    await served.caller.say((Kind.OPEN, 1, stream), (Kind.CALL, 2, ECHO))
    while (await served.caller.hear())[:2] != (Kind.RESULT, 2):
        pass
    assert ran["chunks when echo ran"] < 200


async def test_the_first_chunk_goes_at_once(serve: Serve) -> None:
    served = serve(capacity=1000)
    await served.caller.say((Kind.OPEN, 1, pouring(10**6, 1000, pour_at_once)))
    assert (await served.caller.hear())[0] is Kind.CHUNK
    assert ran["chunks"] < 200


# Peers that misbehave


@pytest.mark.parametrize(
    "frames",
    [
        [(Kind.CALL, 5, WAIT), (Kind.CALL, 5, WAIT)],
        [(Kind.OPEN, 5, pouring(10**6, 10)), (Kind.CALL, 5, WAIT)],
        *([(kind, 1, b"")] for kind in (Kind.RESULT, Kind.CHUNK, Kind.END, Kind.ERROR)),
        [(Kind.OPEN, 1, pouring(100, 10)), (Kind.CREDIT, 1, b"")],
        [(Kind.OPEN, 1, pouring(100, 10)), (Kind.CREDIT, 1, b"12345")],
    ],
    ids=lambda frames: "+".join(f"{kind.name}{number}" for kind, number, _ in frames),
)
async def test_frames_that_make_no_sense_end_the_session_and_no_other(
    serve: Serve, frames: list[tuple[Kind, int, bytes]], until: Until
) -> None:
    bad, good = serve(), serve()
    waiting = asyncio.create_task(good.value(1, request(rest, '{"pause": 0.1}')))
    for frame in frames:
        await bad.caller.say(frame)
        await bad.caller.hear_all(10)
    assert isinstance(await bad.ended(), WireError)
    assert await waiting == '"rested"'
    assert await good.value(2) == '"x"'
    await until(lambda: not bad.node.admission.inside)
    assert ran["left"] == ran["waiting"]


calls = st.sampled_from([ECHO, WAIT, pouring(3, 100), pouring(10**6, 1000), b""])
bodies = calls | st.binary(max_size=20) | st.integers(0, 2**32 - 1).map(encode_credit)
messages = st.binary(max_size=60) | st.lists(
    st.tuples(st.sampled_from(Kind), st.integers(0, 5) | st.integers(0, 2**64 - 1), bodies),
    max_size=8,
).map(lambda frames: encode_message(encode_frame(*frame) for frame in frames))


def test_whatever_a_peer_sends_the_node_refuses_or_serves_it_and_is_as_before(
    node_with: NodeWith, new_link: Any
) -> None:
    async def feed(node: Node, said: list[bytes]) -> None:
        before = asyncio.all_tasks()
        bad, good = Served(node, new_link(1000), MIB), Served(node, new_link(), MIB)
        for message in said:
            await bad.caller.say_bytes(message)
            for _ in range(3):
                await asyncio.sleep(0)
        assert await good.value(1) == '"x"'
        for served in (bad, good):
            served.link.lose()
            error = await served.ended()
            assert error is None or isinstance(error, WireError)
        assert node.admission.inside == 0
        assert asyncio.all_tasks() == before

    with asyncio.Runner() as runner:
        started = node_with(*ALL, max_in_flight=8)
        node = runner.run(started.__aenter__())

        @settings(max_examples=80)
        @given(st.lists(messages, max_size=5))
        def check(said: list[bytes]) -> None:
            runner.run(feed(node, said))

        check()
        runner.run(started.__aexit__(None, None, None))


async def test_what_a_peer_sends_stands_in_no_log_and_in_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for body in (CANARY.encode(), request(fail, f'{{"text": "{CANARY}"}}'), request(CANARY)):
        served = serve()
        await served.caller.say((Kind.CALL, 1, body))
        heard = await served.caller.hear_all(200)
        error = served.task.exception() if served.task.done() else None
        assert heard or isinstance(error, WireError)
        assert CANARY not in f"{caplog.text} {error!r}"


async def test_more_calls_than_the_node_takes_are_refused_and_none_of_them_runs(
    serve: Serve, until: Until
) -> None:
    served = serve()
    await served.caller.say(*((Kind.CALL, number, WAIT) for number in range(1, 101)))
    heard = [await served.caller.hear() for _ in range(92)]
    assert {type(decode_error(body, "?")) for _, _, body in heard} == {Overloaded}
    assert (ran["waiting"], served.node.admission.inside) == (8, 8)
    assert await served.caller.hear_all() == []


async def test_who_asks_and_never_reads_is_not_heard_any_further(serve: Serve) -> None:
    deaf, good = serve(), serve()
    deaf.link.to_caller.hold()
    text = request(echo, '{"text": "%s"}' % ("x" * 5000))

    async def flood() -> None:
        for start in range(1, 100_000, 8):
            await deaf.caller.say(*((Kind.CALL, start + i, text) for i in range(8)))
            await asyncio.sleep(0)

    flooding = asyncio.create_task(flood())
    numbers = iter(range(1, 10**6))
    for _ in range(500):
        await asyncio.sleep(0)
        assert await good.value(next(numbers)) == '"x"'
    heard_of = len(deaf.link.to_node.passed)
    for _ in range(100):
        assert await good.value(next(numbers)) == '"x"'
    flooding.cancel()
    assert len(deaf.link.to_node.passed) == heard_of  # it has stopped
    assert 10 < heard_of < 500  # 500 messages are 20 MB


async def test_a_flood_of_calls_in_one_message_takes_little_memory(
    serve: Serve, turns: Turns
) -> None:
    served = serve()
    served.link.to_caller.hold()
    calls = 60_000
    message = b"".join(encode_frame(Kind.CALL, number) for number in range(1, calls + 1))
    tracemalloc.start()
    try:
        await served.caller.say_bytes(message)
        await turns(200)
        assert tracemalloc.get_traced_memory()[1] < 14 * MIB
    finally:
        tracemalloc.stop()


# The end of the node


async def test_a_node_that_closes_says_what_is_ready_first(serve: Serve) -> None:
    served = serve(capacity=2)
    served.link.to_caller.hold()
    await served.caller.say(
        *((Kind.CALL, number, request(large, '{"size": 500000}')) for number in range(1, 9))
    )
    while ran.total() == 0 and served.node.metrics.calls.total() < 8:
        await asyncio.sleep(0)
    served.closing.set()
    await asyncio.sleep(0)
    served.link.to_caller.release()
    heard = [await served.caller.hear() for _ in range(8)]
    assert {(kind, number) for kind, number, _ in heard} == {(Kind.RESULT, n) for n in range(1, 9)}
    assert await served.ended() is None


async def test_a_node_that_closes_waits_for_calls_inside_though_others_have_left(
    serve: Serve, until: Until
) -> None:
    served = serve()
    assert await served.value(1, request(rest, '{"pause": 0.001}')) == '"rested"'
    await served.caller.say((Kind.CALL, 2, request(rest, '{"pause": 0.1}')))
    await until(lambda: ran["resting"] == 2)
    served.closing.set()
    kind, number, body = await served.caller.hear()
    assert (kind, number, text_of(body or b"")) == (Kind.RESULT, 2, '"rested"')
    assert await served.ended() is None


async def test_a_node_that_closes_does_not_wait_for_streams_that_never_began(
    serve: Serve,
) -> None:
    served = serve()
    await served.caller.say((Kind.OPEN, 1, pouring(3, 10)), (Kind.CANCEL, 1, b""))
    assert await served.value(2) == '"x"'
    served.closing.set()
    assert await served.ended() is None


async def test_a_session_that_starts_while_the_node_closes_ends(serve: Serve) -> None:
    served = serve()
    served.closing.set()
    assert await served.ended() is None


MakeCall = Callable[..., Call]
SECRET = Clearance(Level.SECRET)


async def test_after_a_drain_everybody_inside_has_been_answered(
    node_with: NodeWith, call_of: MakeCall, until: Until
) -> None:
    async with node_with(*ALL) as node:
        server = Server(node, Binding())
        channel = SessionChannel(f"127.0.0.1:{await server.start()}", SECRET)
        sending = [
            asyncio.create_task(channel.send(call_of(rest, pause=0.3 + index / 100)))
            for index in range(30)
        ] + [asyncio.create_task(channel.send(call_of(large, size=5 * MIB))) for _ in range(3)]
        stream = (await channel.send(call_of(pour, count=200, length=20_000))).value
        await anext(stream)
        reading = asyncio.create_task(rest_of(stream))
        await until(lambda: ran["resting"] == 30 and node.metrics.calls["large", "OK"] == 3)
        async with asyncio.timeout(30):
            assert await node.drain(lame_duck=0, seconds=20)
            await server.stop(10)
            answers = await asyncio.gather(*sending)
            assert len(await reading) == 199
        assert len(answers) == 33
        with pytest.raises(EndpointUnavailable):
            await channel.send(call_of(echo, text="x"))
        assert ran["echo"] == 0
        await channel.aclose()


async def rest_of(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


@pytest.mark.parametrize("kind", [UnaryChannel, SessionChannel])
async def test_calls_inside_a_server_that_stops_have_the_grace_to_end(
    node_with: NodeWith, call_of: MakeCall, until: Until, kind: Any
) -> None:
    async with node_with(*ALL) as node:
        server = Server(node, Binding())
        channel = kind(f"127.0.0.1:{await server.start()}", SECRET)
        sending = asyncio.create_task(channel.send(call_of(rest, pause=0.3)))
        await until(lambda: ran["resting"])
        await server.stop(20)
        with suppress(EndpointUnavailable):
            assert (await sending).value == "rested"
        assert sending.exception() is None
        await channel.aclose()


# Strangers over gRPC


async def test_a_stranger_who_sends_garbage_hears_a_fixed_sentence_and_others_are_served(
    node_with: NodeWith, call_of: MakeCall
) -> None:
    async with (
        node_with(*ALL) as node,
        listening(node) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub: Any = NodeStub(channel)
        good = SessionChannel(address, SECRET)
        for garbage in (CANARY.encode(), encode_frame(Kind.RESULT, 1), b"\xff" * 100):
            stream = stub.Session()
            await stream.write(pb.SessionMessage(frames=garbage))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(anext(aiter(stream)), 20)
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert caught.value.details() == WireError.public
            assert type(error_of(caught.value, "node")) is WireError
            assert (await good.send(call_of(echo, text="x"))).value == "x"
        await good.aclose()


async def test_a_stranger_who_asks_and_never_reads_is_held_up_and_nobody_else_is(
    node_with: NodeWith, call_of: MakeCall
) -> None:
    text = request(echo, '{"text": "%s"}' % ("x" * 50_000))

    async def flood(stream: Any) -> None:
        for start in range(1, 10**6, 8):
            frames = b"".join(encode_frame(Kind.CALL, start + i, text) for i in range(8))
            await stream.write(pb.SessionMessage(frames=frames))

    async with (
        node_with(*ALL) as node,
        listening(node) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub: Any = NodeStub(channel)
        stream = stub.Session()
        flooding = asyncio.create_task(flood(stream))
        good = SessionChannel(address, SECRET)
        counts = [-1, ran["echo"]]
        async with asyncio.timeout(20):
            while counts[-1] != counts[-2] or counts[-1] < 10:
                for _ in range(20):
                    await good.send(call_of(trace))
                    await asyncio.sleep(0.005)
                counts.append(ran["echo"])
        assert counts[-1] * 50_000 < 60 * MIB
        assert not flooding.done()
        flooding.cancel()
        stream.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert (await good.send(call_of(echo, text="x"))).value == "x"
        await good.aclose()


async def test_a_session_that_is_cut_twice_keeps_no_memory(
    serve: Serve, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, closed = serve(), False
    really = served.memory.close

    def close() -> None:
        nonlocal closed
        closed = True
        really()

    monkeypatch.setattr(served.memory, "close", close)
    await served.caller.say((Kind.CALL, 1, WAIT))
    await until(lambda: ran["waiting"])
    served.task.cancel()
    await asyncio.sleep(0)
    assert not closed  # it waits for the end of its calls
    served.task.cancel()
    await served.over()
    assert closed
