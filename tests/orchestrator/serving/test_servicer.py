import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from orchestrator.core import codecs
from orchestrator.core.codecs import register_codec
from orchestrator.core.errors import ServiceFailed
from orchestrator.core.labels import Secret
from orchestrator.decorators import edge_service
from orchestrator.serving.server import Binding, Server
from orchestrator.testing import listening
from orchestrator.wire.status import DETAILS, error_of
from policies.facts import Clearance, Level
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

CANARY = "canary-9d02"
PUBLIC = pb.Label(level=pb.LEVEL_PUBLIC)
SECRET = pb.Label(level=pb.LEVEL_SECRET)
closed = threading.Event()
ran: list[str] = []


@edge_service
async def echo(text: str) -> str:
    ran.append("echo")
    return text


@edge_service
async def keep(text: Secret[str]) -> Secret[str]:
    ran.append("keep")
    return text


@edge_service
async def fail(text: str) -> str:
    raise KeyError(text)


@edge_service
async def gives_up() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


@edge_service
async def gives_up_in_a_stream() -> AsyncIterator[int]:
    yield 1
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


@edge_service
async def wait_for_ever() -> None:
    ran.append("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        closed.set()


@edge_service
def flood() -> Iterator[bytes]:
    try:
        while True:
            yield b"x" * 200_000
    finally:
        closed.set()


class Odd:
    """Travels only one way."""


def refuse_to_encode(odd: Odd) -> Any:
    raise ValueError(CANARY)


register_codec(Odd, refuse_to_encode, lambda plain: Odd(), name="odd")


@edge_service(inline=True)
def odd() -> Odd:
    return Odd()


@edge_service(inline=True)
def length(text: str) -> int:
    return len(text)


@edge_service(inline=True)
def large() -> bytes:
    return bytes(2_000_000)


ALL = (echo, keep, fail, gives_up, gives_up_in_a_stream, wait_for_ever, flood, odd, large)


def teardown_module() -> None:
    codecs._by_kind.pop(Odd)
    codecs._by_name.pop("odd")


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    closed.clear()
    ran.clear()


@pytest.fixture
async def stub(node_with: Any) -> AsyncIterator[Any]:
    """Whatever any gRPC tool can send; `.node` is the node behind it."""
    async with (
        node_with(*ALL, clearance=Clearance(Level.SENSITIVE)) as node,
        listening(node) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        made: Any = NodeStub(channel)
        made.node, made.address = node, address
        yield made


def request(service: Any, json: str = "{}", **changes: Any) -> pb.InvokeRequest:
    fields: dict[str, Any] = {"label": PUBLIC, "arguments": pb.Payload(json=json)} | changes
    return pb.InvokeRequest(service=service.spec.name, **fields)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call, 10)
    return caught.value


async def test_a_tool_that_knows_the_proto_alone_can_call(stub: Any) -> None:
    reply = await stub.Invoke(request(echo, '{"text": "hello"}'))
    assert reply.result.json == '"hello"'
    assert reply.timings.node_us > 0


async def test_a_forged_label_does_not_get_past_the_node(stub: Any) -> None:
    labelled = '{"text": {"$label": ["sensitive", []], "$value": "x"}}'
    sensitive = pb.Label(level=pb.LEVEL_SENSITIVE)
    assert await stub.Invoke(request(keep, labelled, label=sensitive))  # the positive control
    ran.clear()
    above_the_call = labelled.replace("sensitive", "secret")
    for forged in (
        request(keep, labelled, label=PUBLIC),
        request(keep, above_the_call, label=sensitive),
        request(keep, above_the_call, label=SECRET),
        request(echo, '{"text": "x"}', label=SECRET),
        request(echo, labelled, label=SECRET),
    ):
        failure = await refused(stub.Invoke(forged))
        assert failure.code() is grpc.StatusCode.PERMISSION_DENIED
        assert failure.details() == "The data may not go there."
    assert ran == []


async def test_a_labelled_value_for_a_plain_parameter_is_refused(stub: Any) -> None:
    labelled = '{"text": {"$label": ["internal", []], "$value": "x"}}'
    failure = await refused(
        stub.Invoke(request(echo, labelled, label=pb.Label(level=pb.LEVEL_INTERNAL)))
    )
    assert failure.code() is grpc.StatusCode.PERMISSION_DENIED
    assert ran == []


async def test_a_call_without_a_label_is_refused(stub: Any) -> None:
    for label in (None, pb.Label()):
        failure = await refused(stub.Invoke(request(echo, '{"text": "x"}', label=label)))
        assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ran == []


async def test_a_call_whose_time_is_up_is_not_run(stub: Any) -> None:
    failure = await refused(stub.Invoke(request(echo, '{"text": "x"}', timeout_us=-1)))
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ran == []


async def test_the_deadline_of_the_message_ends_the_body(stub: Any) -> None:
    failure = await refused(stub.Invoke(request(wait_for_ever, timeout_us=100_000)))
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert closed.is_set()


async def test_the_deadline_of_the_rpc_counts_where_the_message_has_none(stub: Any) -> None:
    await refused(stub.Invoke(request(wait_for_ever), timeout=0.2))
    assert await asyncio.to_thread(closed.wait, 10)
    await stub.node.admission.empty()


@pytest.mark.parametrize(
    ("make", "code", "public"),
    [
        (lambda: request(echo, '{"text": 5}'), "INVALID_ARGUMENT", "The arguments do not fit"),
        (lambda: request(echo, "{"), "INTERNAL", "The message could not be understood."),
        (lambda: request(echo, "[" * 9999), "INTERNAL", "The message could not be understood."),
        (lambda: request(echo, '{"text": {"$tensor": 4}}'), "INTERNAL", "The message could not"),
        (lambda: request(echo, "[]"), "INTERNAL", "The message could not be understood."),
        (lambda: request(echo, version="0" * 12), "NOT_FOUND", "No endpoint can take the call."),
        (lambda: request(flood), "INVALID_ARGUMENT", "The arguments do not fit"),
        (lambda: request(fail, '{"text": "x"}'), "UNKNOWN", "The service raised an exception."),
        (lambda: pb.InvokeRequest(service="nobody", label=PUBLIC, arguments=pb.Payload(json="{}")),
         "NOT_FOUND", "No endpoint can take the call."),
    ],
)  # fmt: skip
async def test_strangers_read_the_fixed_sentence(
    stub: Any, make: Callable[[], pb.InvokeRequest], code: str, public: str
) -> None:
    failure = await refused(stub.Invoke(make()))
    assert failure.code().name == code
    assert (failure.details() or "").startswith(public)


async def test_the_text_of_a_foreign_exception_crosses_nowhere(
    stub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call_id = "00f067aa0ba902b7"
    failure = await refused(stub.Invoke(request(fail, f'{{"text": "{CANARY}"}}', call_id=call_id)))
    trailers = list(failure.trailing_metadata() or ())
    for place in (failure.details(), failure.debug_error_string(), trailers, caplog.text):
        assert CANARY not in str(place)
    assert DETAILS in dict(trailers)
    ours = error_of(failure, stub.address)
    assert isinstance(ours, ServiceFailed)
    assert (ours.exception, ours.call_id, ours.node) == ("KeyError", call_id, "node-1")
    assert f"fail failed in call {call_id}: KeyError" in caplog.text  # the log does catch it


@pytest.mark.parametrize("json", ["{", '{"text": {"$tensor": 9}}'])
async def test_an_error_about_the_message_itself_names_the_call(stub: Any, json: str) -> None:
    failure = await refused(stub.Invoke(request(echo, json, call_id="00f067aa0ba902b7")))
    assert error_of(failure, "").call_id == "00f067aa0ba902b7"


async def test_the_text_of_an_exception_of_a_codec_is_not_logged(
    stub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failure = await refused(stub.Invoke(request(odd)))
    assert failure.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)
    assert CANARY not in str(failure)
    assert CANARY not in caplog.text


async def test_a_handler_that_ends_with_cancelled_error_still_sends_a_status(stub: Any) -> None:
    failure = await refused(stub.Invoke(request(gives_up)))
    assert failure.code() is grpc.StatusCode.CANCELLED
    stream = stub.Stream(request(gives_up_in_a_stream))
    assert (await stream.read()).chunk.json == "1"
    failure = await refused(stream.read())
    assert failure.code() is grpc.StatusCode.CANCELLED


async def test_a_cancelled_rpc_cancels_the_body(stub: Any, until: Any) -> None:
    rpc = stub.Invoke(request(wait_for_ever))
    await until(lambda: ran)
    rpc.cancel()
    assert await asyncio.to_thread(closed.wait, 10)
    await asyncio.wait_for(stub.node.admission.empty(), 10)
    assert stub.node.metrics.calls["wait_for_ever", "CANCELLED"] == 1


async def test_a_stream_that_nobody_reads_any_more_closes_its_generator(stub: Any) -> None:
    rpc = stub.Stream(request(flood))
    assert len((await rpc.read()).chunk.attachments[0].blob) == 200_000
    rpc.cancel()
    assert await asyncio.to_thread(closed.wait, 10)
    await asyncio.wait_for(stub.node.admission.empty(), 10)


async def test_a_result_that_is_too_large_is_refused_with_the_setting(node_with: Any) -> None:
    async with node_with(large, echo) as node:
        server = Server(node, Binding(), max_bytes=2**20)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            made: Any = NodeStub(channel)
            failure = await refused(made.Invoke(request(large)))
            assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "raise max_call_mib on both sides" in str(error_of(failure, "n"))
            assert await made.Invoke(request(echo, '{"text": "x"}'))
        await server.stop(0)


async def test_a_call_that_is_larger_than_the_node_carries_is_refused(node_with: Any) -> None:
    async with node_with(length) as node:
        server = Server(node, Binding(), max_bytes=2**20)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            made: Any = NodeStub(channel)
            small, large = (f'{{"text": "{"x" * size}"}}' for size in (1_000_000, 2_000_000))
            try:
                await made.Invoke(request(length, small))  # the positive control
                failure = await refused(made.Invoke(request(length, large)))
                assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
            finally:
                await server.stop(0)


async def test_describe_and_watch_tell_the_state(stub: Any) -> None:
    report = await stub.Describe(pb.DescribeRequest())
    assert (report.name, report.tier) == ("node-1", "edge")
    assert [service.name for service in report.services][:2] == ["echo", "keep"]
    watch = stub.Watch(pb.WatchRequest(interval_us=60_000_000))
    assert (await watch.read()).state == pb.NodeReport.STATE_READY
    following = asyncio.ensure_future(watch.read())
    while not following.done():  # until the change falls into the wait of the node
        for state in ("blocked", "ready"):
            await stub.node.become(state)
            await asyncio.sleep(0.01)
    assert following.result().state == pb.NodeReport.STATE_BLOCKED
    watch.cancel()


@pytest.mark.parametrize("interval_us", [1, -5, 0, 2**62])
async def test_no_interval_of_a_stranger_makes_a_node_spin_or_fail(
    stub: Any, interval_us: int
) -> None:
    watch = stub.Watch(pb.WatchRequest(interval_us=interval_us))
    assert (await watch.read()).name == "node-1"
    began = asyncio.get_running_loop().time()
    if interval_us in (1, -5):
        await watch.read()
        assert asyncio.get_running_loop().time() - began > 0.02
    watch.cancel()


@pytest.mark.parametrize("method", ["Invoke", "Stream"])
async def test_bytes_that_are_no_message_are_refused_in_our_own_words(
    stub: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel(stub.address) as channel:
        make: Any = channel.unary_unary if method == "Invoke" else channel.unary_stream
        failure = await refused(first(make(f"/isthmus.v1.Node/{method}")(b"\xff\xff\xff")))
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert failure.details() == "The message could not be understood."
    assert "DecodeError" not in caplog.text


async def first(rpc: Any) -> Any:
    """Await an answer, or the first one of a stream."""
    return await (rpc if hasattr(rpc, "__await__") else rpc.read())
