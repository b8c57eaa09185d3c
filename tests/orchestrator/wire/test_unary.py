import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import grpc
import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    PrivacyRefused,
    WireError,
)
from orchestrator.decorators import edge_service
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire.unary import UnaryChannel, longest_message, message_limits
from policies.facts import Clearance, Label, Level
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeServicer, add_NodeServicer_to_server

SECRET = Clearance(Level.SECRET)
MakeCall = Callable[..., Call]
Country = Enum("Country", [f"COUNTRY_NUMBER_{number}" for number in range(1500)])  # type: ignore[misc]


@edge_service
async def hang() -> int:
    await asyncio.Event().wait()
    return 0


@edge_service
async def trickle() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()


@edge_service
def flood() -> Iterator[bytes]:
    while True:
        yield b"x" * 100_000


@edge_service
def visit(country: Country) -> None: ...


class Stranger(NodeServicer):
    """A node of somebody else, which answers as a test tells it."""

    def __init__(self, answer: Callable[[Any], Awaitable[Any]]) -> None:
        self.answer = answer

    async def Invoke(self, request: Any, context: Any) -> Any:
        return await self.answer(context)

    async def Describe(self, request: Any, context: Any) -> Any:
        return await self.answer(context)

    async def Stream(self, request: Any, context: Any) -> Any:
        yield await self.answer(context)

    async def Watch(self, request: Any, context: Any) -> Any:
        yield await self.answer(context)

    async def Session(self, requests: Any, context: Any) -> Any:
        yield await self.answer(context)


@asynccontextmanager
async def channel_to(
    answer: Callable[[Any], Awaitable[Any]], max_bytes: int = 2**20
) -> AsyncIterator[UnaryChannel]:
    server = grpc.aio.server()
    add_NodeServicer_to_server(Stranger(answer), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = UnaryChannel(f"127.0.0.1:{port}", SECRET, max_bytes=max_bytes)
    try:
        yield channel
    finally:
        await channel.aclose()
        await server.stop(0)


async def replied(*, json: str) -> pb.InvokeReply:
    return pb.InvokeReply(result=pb.Payload(json=json))


async def test_a_node_that_nobody_runs_is_unavailable_and_nothing_was_sent(
    call_of: MakeCall,
) -> None:
    channel = UnaryChannel(f"127.0.0.1:{free_port()}", SECRET)
    with pytest.raises(EndpointUnavailable, match="is the node running there") as caught:
        await channel.send(call_of(hang, seconds=0.3))
    assert (caught.value.sent, caught.value.retry) == (False, "always")
    await channel.aclose()


async def test_a_refused_call_does_not_even_connect(call_of: MakeCall) -> None:
    channel = UnaryChannel(f"127.0.0.1:{free_port()}", Clearance())
    with pytest.raises(PrivacyRefused):
        await channel.send(call_of(hang, label=Label(Level.INTERNAL)))
    await channel.aclose()


async def test_a_node_that_never_answers_costs_no_more_than_the_deadline(
    call_of: MakeCall,
) -> None:
    async def never(context: Any) -> None:
        await asyncio.Event().wait()

    async with channel_to(never) as channel:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(channel.send(call_of(seconds=0.2)), 5)


@pytest.mark.parametrize("json", ["{", '{"$tensor": 0}', '{"$unknown": 1}', "[" * 10_000])
async def test_a_reply_that_makes_no_sense_is_a_wire_error(call_of: MakeCall, json: str) -> None:
    async with channel_to(lambda _: replied(json=json)) as channel:
        with pytest.raises(WireError):
            await channel.send(call_of())


async def test_a_reply_of_another_kind_of_server_is_a_wire_error(call_of: MakeCall) -> None:
    async def unknown(context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")

    async with channel_to(unknown) as channel:
        with pytest.raises(WireError, match="no Isthmus node of this version"):
            await channel.send(call_of())
        with pytest.raises(WireError, match="no Isthmus node of this version"):
            await channel.describe()


async def test_a_server_that_breaks_tells_none_of_its_words(call_of: MakeCall) -> None:
    async def broken(context: Any) -> None:
        raise RuntimeError("canary")

    async with channel_to(broken) as channel:
        with pytest.raises(WireError) as caught:
            await channel.send(call_of())
    assert "canary" not in str(caught.value)


async def test_a_reply_larger_than_agreed_is_refused_with_the_setting(call_of: MakeCall) -> None:
    async def large(context: Any) -> pb.InvokeReply:
        return await replied(json='"' + "x" * 2_000_000 + '"')

    async with channel_to(large, max_bytes=1000) as channel:
        with pytest.raises(InvalidInput, match="max_call_mib"):
            await channel.send(call_of())


async def test_a_stream_that_ends_without_its_last_message_is_a_wire_error(
    call_of: MakeCall,
) -> None:
    async def chunk(context: Any) -> pb.StreamReply:
        return pb.StreamReply(chunk=pb.Payload(json="1"))

    async with channel_to(chunk) as channel:
        chunks = (await channel.send(call_of(trickle))).value
        assert await anext(chunks) == 1
        with pytest.raises(WireError, match="without its last message"):
            await anext(chunks)


async def test_a_channel_under_a_flood_reads_no_more_than_it_was_asked_for(
    call_of: MakeCall,
) -> None:
    async with running_node("edge", flood) as node, listening(node) as address:
        channel = UnaryChannel(address, SECRET)
        chunks = (await channel.send(call_of(flood))).value
        assert len(await anext(chunks)) == 100_000
        await chunks.aclose()
        async with asyncio.timeout(5):
            await node.admission.empty()
        await channel.aclose()


async def test_a_call_under_which_the_channel_is_closed_ends_as_unavailable(
    call_of: MakeCall, until: Any
) -> None:
    async with running_node("edge", hang) as node, listening(node) as address:
        channel = UnaryChannel(address, SECRET)
        sending = asyncio.create_task(channel.send(call_of(hang)))
        await until(lambda: node.admission.inside)
        await channel.aclose()
        with pytest.raises(EndpointUnavailable) as caught:
            await asyncio.wait_for(sending, 5)
        assert caught.value.sent
        with pytest.raises(EndpointUnavailable, match="closed"):
            await channel.send(call_of(hang))


async def test_a_stream_under_which_the_channel_is_closed_ends_as_unavailable(
    call_of: MakeCall,
) -> None:
    async with running_node("edge", trickle) as node, listening(node) as address:
        channel = UnaryChannel(address, SECRET)
        chunks = (await channel.send(call_of(trickle))).value
        await anext(chunks)
        reading = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        await channel.aclose()
        await asyncio.wait([reading], timeout=5)
        assert not reading.cancelled()
        assert isinstance(reading.exception(), EndpointUnavailable)


async def test_reports_under_which_the_channel_is_closed_end_as_unavailable() -> None:
    async with running_node("edge", hang) as node, listening(node) as address:
        channel = UnaryChannel(address, SECRET)
        reports = channel.watch(60)
        await anext(reports)
        following = asyncio.ensure_future(anext(reports))
        await asyncio.sleep(0)
        await channel.aclose()
        await asyncio.wait([following], timeout=5)
        assert not following.cancelled()
        assert isinstance(following.exception(), EndpointUnavailable)


async def test_an_error_with_many_words_keeps_its_class(call_of: MakeCall) -> None:
    async with running_node("edge", visit) as node, listening(node) as address:
        channel = UnaryChannel(address, SECRET)
        try:
            with pytest.raises(InvalidInput):
                await channel.send(call_of(visit, country="nowhere"))
        finally:
            await channel.aclose()


async def test_the_node_goes_away_during_a_call(call_of: MakeCall, until: Any) -> None:
    async with running_node("edge", hang) as node:
        async with listening(node) as address:
            channel = UnaryChannel(address, SECRET)
            sending = asyncio.create_task(channel.send(call_of(hang)))
            await until(lambda: node.admission.inside)
        with pytest.raises(EndpointUnavailable) as caught:
            await asyncio.wait_for(sending, 5)
        assert caught.value.sent
        await channel.aclose()


async def test_the_largest_call_that_settings_allow_is_no_limit_that_grpc_refuses() -> None:
    assert longest_message(2**20) == 2 * 2**20
    server = grpc.aio.server(options=message_limits(1024 * 2**20))
    await server.stop(None)
    with pytest.raises(OverflowError):  # the positive control
        grpc.aio.server(options=[("grpc.max_send_message_length", 2**31)])
