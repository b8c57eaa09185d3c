import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    PrivacyRefused,
    WireError,
)
from orchestrator.decorators import edge_service
from orchestrator.serving.node import Node
from orchestrator.serving.server import Binding, Server
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.frames import Kind, encode_frame
from orchestrator.wire.security import TlsFiles, client_credentials
from policies.facts import Clearance, Label, Level
from protos.isthmus.v1.node_pb2_grpc import NodeServicer, add_NodeServicer_to_server

SECRET = Clearance(Level.SECRET)
MIB = 2**20
MakeCall = Callable[..., Call]
Until = Callable[[Callable[[], object]], Awaitable[None]]
ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


async def failed(work: Awaitable[Any], kind: type[CallError] = CallError) -> Any:
    with pytest.raises(kind) as caught:
        async with asyncio.timeout(20):
            await work
    return caught.value


async def given_up(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@edge_service
async def size(data: bytes) -> int:
    ran["size"] += 1
    return len(data)


@edge_service
async def wait_for_ever() -> None:
    ran["waiting"] += 1
    try:
        await asyncio.Event().wait()
    finally:
        ran["left"] += 1


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
async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


@edge_service
async def sizes(lengths: list[int]) -> AsyncIterator[bytes]:
    for index, length in enumerate(lengths):
        yield bytes([index]) * length


SERVICES = (size, wait_for_ever, pour, count, sizes)


class Reached:
    """A node that listens, and a channel to it."""

    def __init__(self, node: Node, channel: SessionChannel, address: str) -> None:
        self.node, self.channel, self.address = node, channel, address


@pytest.fixture
async def reached() -> AsyncIterator[Reached]:
    async with (
        running_node("edge", *SERVICES, clearance=SECRET) as node,
        listening(node) as address,
    ):
        channel = SessionChannel(address, SECRET)
        yield Reached(node, channel, address)
        await channel.aclose()


async def test_a_node_that_nobody_runs_is_unavailable_and_nothing_was_sent(
    call_of: MakeCall,
) -> None:
    channel = SessionChannel(f"127.0.0.1:{free_port()}", SECRET)
    error = await failed(channel.send(call_of(size, seconds=0.3)), EndpointUnavailable)
    assert not error.sent
    await channel.aclose()


async def test_a_refused_call_does_not_even_connect(call_of: MakeCall) -> None:
    channel = SessionChannel(f"127.0.0.1:{free_port()}", Clearance())
    with pytest.raises(PrivacyRefused):
        await channel.send(call_of(size, label=Label(Level.INTERNAL), data=b""))
    await channel.aclose()


async def test_many_first_calls_at_once_share_one_session(call_of: MakeCall) -> None:
    async with stranger() as (servicer, channel):
        calls = [asyncio.create_task(channel.send(call_of())) for _ in range(20)]
        await asyncio.wait(calls, timeout=0.3)
        assert servicer.sessions == 1
        for call in calls:
            await given_up(call)


class StrangerServicer(NodeServicer):
    """A node of somebody else, which takes sessions and says what it is told to."""

    def __init__(self, answers: list[bytes]) -> None:
        self.sessions = 0
        self.answers = answers
        self.heard: list[bytes] = []

    async def Session(self, requests: Any, context: Any) -> Any:
        self.sessions += 1
        async for request in requests:
            self.heard.append(request.frames)
            for answer in self.answers:
                yield type(request)(frames=answer)


# Type checkers take the methods that a servicer leaves out for abstract ones.
STRANGER: Any = StrangerServicer
WITHOUT_SESSIONS: Any = NodeServicer


@asynccontextmanager
async def stranger(
    *answers: bytes, servicer: NodeServicer | None = None
) -> AsyncIterator[tuple[Any, SessionChannel]]:
    """Run a stranger and give it with a channel to it."""
    servicer = servicer or STRANGER(list(answers))
    server = grpc.aio.server()
    add_NodeServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = SessionChannel(f"127.0.0.1:{port}", SECRET, max_bytes=MIB)
    try:
        yield servicer, channel
    finally:
        await channel.aclose()
        await server.stop(0)


@pytest.mark.parametrize("service", [size, count])
async def test_a_node_that_never_answers_costs_no_more_than_the_deadline(
    call_of: MakeCall, service: Any
) -> None:
    async def answer(channel: SessionChannel) -> Any:
        reply = await channel.send(call_of(service, seconds=0.3))
        return await anext(reply.value)

    async with stranger() as (_, channel):
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(answer(channel), 1)


async def test_a_node_without_sessions_is_named_as_of_another_version(call_of: MakeCall) -> None:
    async with stranger(servicer=WITHOUT_SESSIONS()) as (_, channel):
        error = await failed(channel.send(call_of()), WireError)
        assert "is no Isthmus node of this version" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"?",
        encode_frame(Kind.RESULT, 1, b"\xff"),
        encode_frame(Kind.RESULT, 1),
        encode_frame(Kind.CHUNK, 1, b"x"),
        encode_frame(Kind.ERROR, 1, b"\xff"),
        encode_frame(Kind.RESULT, 1, b"\x0a\x03\x0a\x01{"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_wire_error(
    call_of: MakeCall, answer: bytes
) -> None:
    async with stranger(answer) as (_, channel):
        assert type(await failed(channel.send(call_of()))) is WireError


async def test_after_a_node_was_started_again_the_next_call_opens_a_new_session(
    call_of: MakeCall,
) -> None:
    port = free_port()
    channel = SessionChannel(f"127.0.0.1:{port}", SECRET)
    for _ in range(2):
        async with running_node("edge", *SERVICES) as node:
            server = Server(node, Binding(port=port))
            await server.start()
            async with asyncio.timeout(20):
                assert await answered(channel, call_of, b"xyz") == 3
            calling = asyncio.create_task(channel.send(call_of(wait_for_ever)))
            while not ran["waiting"]:
                await asyncio.sleep(0.005)
            await server.stop(0)
            assert (await failed(calling, EndpointUnavailable)).sent
            ran.clear()
        before = ran["size"]
        await failed(channel.send(call_of(size, seconds=0.2, data=b"")), EndpointUnavailable)
        assert ran["size"] == before
    await channel.aclose()


async def answered(channel: SessionChannel, call_of: MakeCall, data: bytes) -> Any:
    """Call until the connection is there again, as a dispatcher does."""
    while True:
        try:
            return (await channel.send(call_of(size, data=data))).value
        except EndpointUnavailable:
            await asyncio.sleep(0.01)


async def test_a_closed_channel_refuses_calls_and_nothing_was_sent(
    reached: Reached, call_of: MakeCall
) -> None:
    assert (await reached.channel.send(call_of(size, data=b"x"))).value == 1
    await reached.channel.aclose()
    assert not (await failed(reached.channel.send(call_of(size, data=b"x")))).sent
    assert ran["size"] == 1


async def test_closing_a_channel_ends_its_calls_and_their_bodies(
    reached: Reached, call_of: MakeCall, until: Until
) -> None:
    calling = asyncio.create_task(reached.channel.send(call_of(wait_for_ever)))
    await until(lambda: ran["waiting"])
    await reached.channel.aclose()
    assert (await failed(calling, EndpointUnavailable)).sent
    await until(lambda: ran["left"] and not reached.node.admission.inside)


async def test_small_calls_pass_a_large_one_and_all_are_answered(
    reached: Reached, call_of: MakeCall
) -> None:
    lengths = [4 * MIB, *range(10), 3 * MIB, 11, 100_000, 12]
    calls = [reached.channel.send(call_of(size, data=bytes(length))) for length in lengths]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*calls)
    assert [answer.value for answer in answers] == lengths


async def test_chunks_of_all_sizes_arrive_in_order(reached: Reached, call_of: MakeCall) -> None:
    lengths = [1, 2, 70_000, 3, 300_000, 4, 5, 600_000, 6, 7, 8, 65_537, 9] * 3
    async with asyncio.timeout(20):
        chunks = (await reached.channel.send(call_of(sizes, lengths=lengths))).value
        got = [bytes(chunk) async for chunk in chunks]
    assert [(len(chunk), chunk[0]) for chunk in got] == [
        (length, index) for index, length in enumerate(lengths)
    ]


async def test_a_reader_who_does_not_read_holds_up_its_own_stream_alone(
    reached: Reached, call_of: MakeCall, until: Until
) -> None:
    chunks = (await reached.channel.send(call_of(pour, count=10**6, length=10_000))).value
    await anext(chunks)
    await until(lambda: ran["chunks"] > 50)
    async with asyncio.timeout(20):
        for length in range(50):
            answer = await reached.channel.send(call_of(size, data=bytes(length)))
            assert answer.value == length
        other = (await reached.channel.send(call_of(pour, count=300, length=10_000))).value
        assert len([chunk async for chunk in other]) == 300
    assert ran["chunks"] - 300 < 250  # 2.5 MB, of which 1 MiB may be ahead of the reader
    await chunks.aclose()
    await until(lambda: ran["closed"] == 2 and not reached.node.admission.inside)


async def test_a_slow_reader_gets_all_of_a_long_stream(reached: Reached, call_of: MakeCall) -> None:
    async with asyncio.timeout(20):
        chunks = (await reached.channel.send(call_of(pour, count=500, length=20_000))).value
        got = 0
        async for chunk in chunks:
            got += len(chunk)
            await asyncio.sleep(0)
    assert got == 500 * 20_000


async def test_one_chunk_may_be_larger_than_the_window(reached: Reached, call_of: MakeCall) -> None:
    async with asyncio.timeout(20):
        chunks = (await reached.channel.send(call_of(pour, count=4, length=3 * MIB))).value
        assert [len(chunk) async for chunk in chunks] == [3 * MIB] * 4


async def test_mtls_lets_the_known_in_and_keeps_strangers_out(
    certificates: Any, call_of: MakeCall
) -> None:
    nobody = TlsFiles(certificates.caller.ca)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node("edge", *SERVICES))
        address = await stack.enter_async_context(listening(node, Binding(tls=certificates.node)))
        for credentials, passes in (
            (client_credentials(certificates.caller), True),  # the positive control
            (client_credentials(nobody), False),
            (None, False),
        ):
            channel = SessionChannel(address, SECRET, credentials)
            stack.push_async_callback(channel.aclose)
            if passes:
                assert (await channel.send(call_of(size, data=b"x"))).value == 1
            else:
                call = call_of(size, seconds=0.5, data=b"x")
                error = await failed(channel.send(call), EndpointUnavailable)
                assert not error.sent
    assert ran["size"] == 1


# Opening again


@asynccontextmanager
async def broken(*answers: bytes) -> AsyncIterator[tuple[Any, SessionChannel]]:
    """Run a stranger that ends each session after its answers to the first message."""
    servicer = ENDING(list(answers))
    async with stranger(servicer=servicer) as (_, channel):
        yield servicer, channel


class EndingServicer(StrangerServicer):
    """A stranger whose sessions end after one message."""

    async def Session(self, requests: Any, context: Any) -> Any:
        self.sessions += 1
        async for request in requests:
            for answer in self.answers:
                yield type(request)(frames=answer)
            return


ENDING: Any = EndingServicer


async def test_after_a_session_has_ended_calls_at_once_share_a_new_one(
    call_of: MakeCall,
) -> None:
    async with broken() as (servicer, channel):
        for sessions in (1, 2):
            calls = [asyncio.create_task(channel.send(call_of())) for _ in range(10)]
            done, _ = await asyncio.wait(calls, timeout=20)
            errors = [task.exception() for task in done]
            assert {type(error) for error in errors} == {EndpointUnavailable}
            assert servicer.sessions >= sessions
        assert servicer.sessions <= 20  # and none of them was opened for nothing


async def test_a_call_after_the_deadline_opens_no_session(call_of: MakeCall) -> None:
    async with stranger() as (servicer, channel):
        await failed(channel.send(call_of(seconds=-1.0)))
        assert servicer.sessions == 0


async def test_a_channel_that_was_never_used_closes_and_one_is_closed_twice(
    reached: Reached, call_of: MakeCall
) -> None:
    unused = SessionChannel(reached.address, SECRET)
    await unused.aclose()
    await unused.aclose()
    assert (await reached.channel.send(call_of(size, data=b"x"))).value == 1
    await reached.channel.aclose()
    await reached.channel.aclose()


async def test_closing_leaves_no_task(reached: Reached, call_of: MakeCall, until: Until) -> None:
    before = asyncio.all_tasks()

    def left() -> list[Any]:
        tasks = asyncio.all_tasks() - before
        return [task for task in tasks if "AioServer" not in repr(task)]  # which waits for calls

    channel = SessionChannel(reached.address, SECRET)
    assert (await channel.send(call_of(size, data=b"x"))).value == 1
    assert left()
    await channel.aclose()
    await until(lambda: not left())
    assert reached.node.admission.inside == 0


async def test_reports_come_beside_a_session(reached: Reached, call_of: MakeCall) -> None:
    assert (await reached.channel.send(call_of(size, data=b"x"))).value == 1
    assert (await reached.channel.describe()).name == "edge"
    reports = reached.channel.watch(0.05)
    assert [(await anext(reports)).state for _ in range(2)] == ["ready", "ready"]
    await reports.aclose()
