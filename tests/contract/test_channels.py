import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from orchestrator.core.call import Call
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    NoRoute,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
)
from orchestrator.core.labels import Internal, Secret, Sensitive
from orchestrator.core.model import Array, Batch, Stop, TensorSpec
from orchestrator.decorators import edge_service
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.attach import Attachment, Place
from orchestrator.serving.node import Node
from orchestrator.serving.server import Binding
from orchestrator.testing import fake_model, free_port, listening, running_node
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.channel import Channel
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.inprocess import InProcessChannel
from orchestrator.wire.memory import SHARED_BYTES
from orchestrator.wire.nearby import NearbyLink
from orchestrator.wire.renewed import RenewedChannel
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.unary import UnaryChannel
from policies.facts import PUBLIC, Clearance, Label, Level

CANARY = "canary-e7a1"
SECRET = Label(Level.SECRET)
SENSITIVE = Label(Level.SENSITIVE)
ANYTHING = Clearance(Level.SECRET)
NODE = Clearance(Level.SENSITIVE, frozenset({"pii"}))
MIB = 2**20


class Mood(Enum):
    GOOD = "good"


@dataclass
class Item:
    name: str
    scores: list[float]
    mood: Mood | None = None


class Order(BaseModel):
    items: dict[str, Item]
    raw: bytes
    pair: tuple[int, str]


class Held:
    """A model of which every run waits at a gate of its own, until it is let go or stopped."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, threading.Event]] = []
        self.ended: list[str] = []
        self.warm = False

    def run(self, batch: Batch, stop: Stop) -> Batch:
        if self.warm:
            gate = threading.Event()
            self.runs.append((len(batch["x"]), gate))
            stop.on_request(gate.set)
            assert gate.wait(20)
            self.ended.append("stopped" if stop.requested else "well")
            stop.check()
        return {"y": batch["x"] * 2}

    def let_go(self) -> None:
        for _, gate in self.runs:
            gate.set()

    @property
    def batches(self) -> list[int]:
        return [rows for rows, _ in self.runs]


held = Held()
closed = threading.Event()
seen: list[Any] = []
slow_model = TensorModel("slow")


@edge_service(inline=True)
def mirror(array: np.ndarray) -> np.ndarray:
    seen[:] = [array]
    return array


@edge_service(inline=True)
def echo(order: Order, items: list[Item | None], extra: dict[str, int | float | None]) -> Order:
    seen[:] = [items, extra]
    return order


@edge_service(inline=True)
def text_of(text: str) -> str:
    return text


@edge_service(inline=True)
def grow(count: int) -> bytes:
    return bytes(count)


@edge_service
async def keep(text: Sensitive[str]) -> Sensitive[str]:
    seen[:] = [text.value]
    return text


@edge_service
async def keep_list(texts: list[Sensitive[str]]) -> list[Sensitive[str]]:
    return texts


@edge_service
def fail(text: str) -> str:
    raise KeyError(text)


@edge_service
async def fail_too(text: str) -> str:
    raise ValueError(text)


@edge_service
async def fail_in_a_stream(text: str) -> AsyncIterator[str]:
    yield "first"
    raise ValueError(text)


@edge_service
async def wait_for_ever() -> None:
    try:
        seen[:] = ["waiting"]
        await asyncio.Event().wait()
    finally:
        closed.set()


@edge_service
async def count(to: int) -> AsyncIterator[int]:
    try:
        for number in range(to):
            yield number
    finally:
        closed.set()


@edge_service
def count_blocking(to: int) -> Iterator[np.ndarray]:
    try:
        for number in range(to):
            yield np.full(3, number)
    finally:
        closed.set()


@edge_service
async def wait_in_a_stream() -> AsyncIterator[int]:
    yield 1
    try:
        await asyncio.Event().wait()
    finally:
        closed.set()


@edge_service(models=[slow_model])
async def double(x: np.ndarray) -> np.ndarray:
    return (await slow_model.aio({"x": x}))["y"]


SERVICES = (
    mirror, echo, text_of, grow, keep, keep_list, fail, fail_too, fail_in_a_stream, wait_for_ever,
    count, count_blocking, wait_in_a_stream, double,
)  # fmt: skip


WAYS = [
    "in process",
    *("unary", "session", "attached", "unary, unix", "session, unix"),
    *("session, shared memory", "session, unix, shared memory"),
    *("session, nearby", "session, nearby, shared memory"),
    *("unary, mtls", "session, mtls", "attached, mtls", "session, unix, mtls"),
    "session, renewed, mtls",
]
WIRES = WAYS[1:]
SHARED = [way for way in WAYS if way.endswith("shared memory")]


@dataclass
class Way:
    """A channel, the node behind it, and how to make another one to it."""

    kind: str
    node: Node
    open: Callable[..., Awaitable[Channel]]
    channel: Channel = field(init=False)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**6)))

    def call(
        self, service: Any, label: Label = PUBLIC, seconds: float = 20.0, **arguments: Any
    ) -> Call:
        spec = service.spec
        deadline = Deadline.after(seconds)
        return Call(
            f"{next(self.numbers):016x}", "a" * 32, spec.name, spec.version, arguments, label,
            deadline, spec.placement, spec.streams,
        )  # fmt: skip

    async def value(self, service: Any, label: Label = PUBLIC, **arguments: Any) -> Any:
        """Call a service as a caller does: bound, sent, loaded."""
        schema = service.spec.schema
        reply = await self.channel.send(self.call(service, label, **schema.bind((), arguments)))
        return schema.load_result(reply.value)

    async def refused(self, call: Call, kind: type[CallError]) -> Any:
        with pytest.raises(kind) as caught:
            async with asyncio.timeout(20):
                await self.channel.send(call)
        return caught.value


@pytest.fixture(params=WAYS)
async def way(
    request: pytest.FixtureRequest, certificates: Any, tmp_path: Path
) -> AsyncIterator[Way]:
    """Every implementation of a Channel, each to the same kind of real node."""
    specs = [TensorSpec(name, "float32", ("batch",)) for name in "xy"]
    fake_model(tmp_path, "slow", specs[:1], specs[1:])
    held.runs.clear()
    held.ended.clear()
    held.warm = False
    closed.clear()
    seen.clear()
    async with AsyncExitStack() as stack:
        models = {"slow": lambda batch, stop: held.run(batch, stop)}
        node = await stack.enter_async_context(
            running_node("edge", *SERVICES, store=tmp_path, models=models, clearance=NODE)
        )
        held.warm = True
        stack.callback(held.let_go)
        secure = request.param.endswith("mtls")
        address = ""
        if request.param.startswith(("unary", "session")):
            binding = Binding(
                tls=certificates.node if secure else None, socket=tmp_path / "edge.sock"
            )
            address = await stack.enter_async_context(listening(node, binding))
            if "unix" in request.param:
                address = f"unix:{binding.socket}"

        async def open_channel(clearance: Clearance = ANYTHING, **options: Any) -> Channel:
            if request.param == "in process":
                return InProcessChannel(node, clearance, **options)
            if request.param.startswith("attached"):
                pair = (certificates.caller, certificates.node) if secure else (None, None)
                dialled = await stack.enter_async_context(attached(node, *pair))
                made: Any = SessionChannel("edge", clearance, link=dialled, **options)
            else:
                credentials = client_credentials(certificates.caller) if secure else None
                if "unix" in request.param and secure:
                    options = {"identity": "127.0.0.1"} | options
                made = UnaryChannel(address, clearance, credentials, **options)
                if request.param.startswith("session"):
                    link = NearbyLink(made) if "nearby" in request.param else made
                    shared = SHARED_BYTES if "shared memory" in request.param else 0
                    options = {"shared_bytes": shared, "link": link} | options
                    made = SessionChannel(address, clearance, credentials, **options)
                if "renewed" in request.param:
                    made = RenewedChannel(partial(_same, made), [certificates.caller.ca], "edge")
                if "nearby" in request.param:
                    await made.describe()  # so it knows of the node's socket
            stack.push_async_callback(made.aclose)
            channel: Channel = made
            return channel

        made = Way(request.param, node, open_channel)
        made.channel = await open_channel()
        yield made


def _same(channel: Channel) -> Channel:
    return channel


@asynccontextmanager
async def attached(
    node: Node, ours: TlsFiles | None, its: TlsFiles | None
) -> AsyncIterator[AttachedNode]:
    """Attach a node to an orchestrator of its own, in both directions over real gRPC."""
    link, address = AttachedNode("edge", "here"), f"localhost:{free_port()}"
    # The node's certificate serves the name that the node dials, and the other way round.
    server = AttachServer(address, its, {"caller.example" if ours else "edge": link})
    attachment = Attachment(node, Place(address, ours), random.Random(7))
    await server.start()
    attachment.start()
    try:
        await until(lambda: link.attached)
        yield link
    finally:
        await attachment.stop(0.0)
        await server.aclose()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


ARRAYS: list[Array] = [
    np.array(3.5),
    np.zeros((0, 4), np.int64),
    np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::2, ::-1],
    np.arange(6, dtype=">i4").reshape(2, 3),
    np.array([True, False]),
    np.array([1 + 2j, complex(np.nan, np.inf)], np.complex64),
    np.array([np.nan, -0.0, np.inf, 5e-324]),
    np.asfortranarray(np.arange(6, dtype=np.uint16).reshape(2, 3)),
    np.array([1.5], np.float16),
    np.array([2**64 - 1], np.uint64),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
async def test_arrays_arrive_and_return_bit_for_bit_and_read_only(way: Way, array: Array) -> None:
    answer = await way.value(mirror, array=array)
    for got in (seen[0], answer):
        assert got.shape == array.shape
        assert got.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(got, array)
        assert not got.flags.writeable


async def test_tensors_of_64_mib_pass_both_ways(way: Way) -> None:
    array = np.arange(16 * MIB, dtype=np.float32)
    answer = await way.value(mirror, array=array)
    assert answer.nbytes == 64 * MIB
    assert np.array_equal(answer, array)
    assert not answer.flags.writeable
    assert not seen[0].flags.writeable


def lies_in_shared_memory(array: Array) -> bool:
    """Say whether an array was left where its sender has put it."""
    ranges = [
        line.split()[0].split("-")
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "memfd:isthmus" in line
    ]
    return any(int(a, 16) <= array.ctypes.data < int(b, 16) for a, b in ranges)


async def test_a_tensor_is_read_in_place_where_memory_is_shared_and_nowhere_else(way: Way) -> None:
    for _ in range(2):  # with the first call the ends agree
        answer = await way.value(mirror, array=np.arange(MIB))
    places = {lies_in_shared_memory(array) for array in (seen[0], answer)}
    assert places == {"shared memory" in way.kind}


@pytest.mark.parametrize("way", SHARED, indirect=True)
async def test_more_tensors_than_the_shared_memory_has_room_for_all_arrive(way: Way) -> None:
    kept = [await way.value(mirror, array=np.full(4 * MIB, index)) for index in range(5)]
    assert [int(array[-1]) for array in kept] == list(range(5))
    assert all((array == array[0]).all() for array in kept)


async def test_more_than_80_mib_is_invalid_input_with_a_cure(way: Way) -> None:
    call = way.call(mirror, array=np.zeros(81 * MIB, np.uint8))
    error = await way.refused(call, InvalidInput)
    assert "81.0 MiB are more than the 80 MiB" in str(error)
    assert "raise max_call_mib" in str(error)
    assert seen == []


@pytest.mark.parametrize("way", WIRES, indirect=True)
async def test_a_result_of_more_than_80_mib_is_refused_with_a_cure(way: Way) -> None:
    error = await way.refused(way.call(grow, count=81 * MIB), CallError)
    assert "max_call_mib" in str(error)


@pytest.mark.parametrize("way", ["in process"], indirect=True)
async def test_a_result_of_more_than_80_mib_is_refused_in_process_too(way: Way) -> None:
    error = await way.refused(way.call(grow, count=81 * MIB), CallError)
    assert "max_call_mib" in str(error)


async def test_structures_arrive_in_their_types(way: Way) -> None:
    item = Item("ünï©ødé \U0001f600", [0.1, float("inf"), -0.0], Mood.GOOD)
    order = Order(items={"$tensor": item, "$$": Item("", [])}, raw=b"\x00\xff", pair=(2**70, "x"))
    extra = {"": None, "$label": 10**100, "nan": 1.5}
    assert await way.value(echo, order=order, items=[item, None], extra=extra) == order
    assert seen == [[item, None], extra]


async def test_text_of_any_length_and_script_arrives(way: Way) -> None:
    for text in ("", "\x00\x1f\x7f\u2028", "漢字" * 1000, "\U0001f600", '{"$tensor": 0}'):
        assert await way.value(text_of, text=text) == text


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_text_that_is_no_unicode_is_refused_on_every_channel(way: Way) -> None:
    await way.refused(way.call(text_of, text="\ud800"), InvalidInput)


async def test_labels_arrive_with_their_values(way: Way) -> None:
    label = Label(Level.SENSITIVE, frozenset({"pii"}))
    answer = await way.value(keep, label, text=Sensitive("x", "pii"))
    assert (answer.label, answer.reveal("a test"), seen) == (label, "x", ["x"])
    answers = await way.value(keep_list, label, texts=[Internal("a"), Sensitive("b", "pii")])
    # What is raised and what is not: no value comes back below its own label.
    assert [answer.label.covers(Label(Level.INTERNAL)) for answer in answers] == [True, True]
    assert answers[1].label == label


async def test_a_label_above_the_channels_clearance_never_reaches_the_node(way: Way) -> None:
    call = way.call(keep, SENSITIVE, text=Sensitive("x"))
    for clearance, passes in ((NODE, True), (Clearance(Level.INTERNAL), False)):
        channel = await way.open(clearance)
        if passes:  # the positive control
            assert (await channel.send(call)).value.label == SENSITIVE
        else:
            before = way.node.metrics.calls.total()
            with pytest.raises(PrivacyRefused, match="above clearance internal"):
                await channel.send(call)
            assert way.node.metrics.calls.total() == before


async def test_an_argument_labelled_above_its_call_never_reaches_the_node(way: Way) -> None:
    await way.channel.send(way.call(keep, SENSITIVE, text=Sensitive("x")))
    before = way.node.metrics.calls.total()
    for label in (PUBLIC, Label(Level.INTERNAL)):
        await way.refused(way.call(keep, label, text=Sensitive("x")), PrivacyRefused)
    assert way.node.metrics.calls.total() == before


async def test_a_label_above_the_nodes_own_clearance_is_refused_there(way: Way) -> None:
    for label, text in (
        (SECRET, Secret("x")),
        (Label(Level.SENSITIVE, frozenset({"phi"})), Sensitive("x", "phi")),
    ):
        call = way.call(keep, label, text=text)
        error = await way.refused(call, PrivacyRefused)
        assert (error.node, error.call_id) == ("edge", call.id)
    assert seen == []


async def test_every_refusal_is_of_its_own_class_and_names_node_and_call(way: Way) -> None:
    unknown = replace(way.call(text_of, text="x"), service="nobody")
    older = replace(way.call(text_of, text="x"), version="0" * 12)
    for call, kind, said in (
        (unknown, NoRoute, "does not serve that service"),
        (older, NoRoute, f"serves version {text_of.spec.version}"),
        (way.call(text_of, text=5), InvalidInput, "'text': string_type"),
        (way.call(text_of), InvalidInput, "'text': missing"),
        (way.call(text_of, text="x", more=1), InvalidInput, "'more': extra_forbidden"),
        (replace(way.call(count, to=1), stream=False), InvalidInput, "is called by Stream"),
        (way.call(fail, text="x"), ServiceFailed, "KeyError"),
    ):
        error = await way.refused(call, kind)
        assert type(error) is kind
        assert said in str(error)
        assert (error.node, error.call_id) == ("edge", call.id)


async def test_a_full_node_is_overloaded_and_nothing_has_run(way: Way) -> None:
    way.node.admission.limit = 0
    error = await way.refused(way.call(text_of, text="x"), Overloaded)
    assert (error.retry, error.node) == ("always", "edge")


async def test_a_node_that_goes_away_is_unavailable_and_nothing_has_run(way: Way) -> None:
    await way.node.drain(lame_duck=0, seconds=1)
    error = await way.refused(way.call(text_of, text="x"), EndpointUnavailable)
    assert (error.sent, error.retry) == (False, "always")


@pytest.mark.parametrize("service", [fail, fail_too])
async def test_the_text_of_a_foreign_exception_never_crosses(
    way: Way, service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = await way.refused(way.call(service, text=CANARY), ServiceFailed)
    assert error.exception == ("KeyError" if service is fail else "ValueError")
    assert CANARY not in f"{error} {error!r} {error.args} {caplog.text}"
    assert f"{service.spec.name} failed in call {error.call_id}" in caplog.text


async def test_a_stream_that_fails_gives_what_came_before(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    chunks = (await way.channel.send(way.call(fail_in_a_stream, text=CANARY))).value
    assert await anext(chunks) == "first"
    with pytest.raises(ServiceFailed) as caught:
        await anext(chunks)
    assert CANARY not in f"{caught.value} {caplog.text}"
    assert caught.value.exception == "ValueError"


async def test_a_deadline_ends_the_call_and_the_body(way: Way) -> None:
    await way.channel.describe()  # connected already
    error = await way.refused(way.call(wait_for_ever, seconds=0.15), DeadlineExceeded)
    assert error.retryable
    assert await asyncio.to_thread(closed.wait, 20)
    await until(lambda: not way.node.admission.inside)


async def test_a_call_whose_time_is_up_does_not_run(way: Way) -> None:
    await way.channel.describe()  # connected already
    with pytest.raises(DeadlineExceeded):
        await way.channel.send(way.call(keep, SENSITIVE, seconds=-1.0, text=Sensitive("x")))
    assert seen == []


async def test_a_cancelled_call_cancels_the_body(way: Way) -> None:
    sending = asyncio.create_task(way.channel.send(way.call(wait_for_ever)))
    await until(lambda: seen)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await asyncio.to_thread(closed.wait, 20)
    await until(lambda: not way.node.admission.inside)


def doubled(way: Way, number: float) -> "asyncio.Task[Any]":
    x = np.full(1, number, np.float32)
    return asyncio.create_task(way.channel.send(way.call(double, x=x)))


async def test_a_model_stops_when_the_last_caller_of_its_run_has_left(way: Way) -> None:
    first = doubled(way, 1)
    await until(lambda: held.batches == [1])
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await until(lambda: held.ended == ["stopped"])
    second = doubled(way, 2)
    await until(lambda: held.batches == [1, 1])
    held.let_go()
    assert (await second).value.tolist() == [4]  # the model is as before


async def test_a_batch_mate_who_stays_is_answered_when_the_others_leave(way: Way) -> None:
    first = doubled(way, 1)
    await until(lambda: held.batches == [1])
    mates = [doubled(way, number) for number in (2, 3, 4)]
    await until(lambda: way.node.pool.batchers["slow"].waiting == 3)
    held.let_go()
    assert (await first).value.tolist() == [2]
    await until(lambda: held.batches == [1, 3])
    for leaver in (mates[0], mates[2]):
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
    await until(lambda: way.node.admission.inside == 1)
    assert held.ended == ["well"]  # two have left, and their run goes on
    held.let_go()
    assert (await mates[1]).value.tolist() == [6]
    assert held.ended == ["well", "well"]


@pytest.mark.parametrize("service", [count, count_blocking])
async def test_streams_give_their_values_in_order_and_timings_at_the_end(
    way: Way, service: Any
) -> None:
    chunks = (await way.channel.send(way.call(service, to=20))).value
    got = [chunk async for chunk in chunks]
    numbers = [int(np.asarray(chunk).ravel()[0]) for chunk in got]
    assert numbers == list(range(20))
    assert chunks.timings.node_ms > 0
    if service is count_blocking:
        assert not any(chunk.flags.writeable for chunk in got)


async def test_an_empty_stream_ends_well(way: Way) -> None:
    chunks = (await way.channel.send(way.call(count, to=0))).value
    assert [chunk async for chunk in chunks] == []


@pytest.mark.parametrize("service", [count, count_blocking])
async def test_closing_a_stream_early_closes_its_generator(way: Way, service: Any) -> None:
    chunks = (await way.channel.send(way.call(service, to=10**9))).value
    await anext(chunks)
    await chunks.aclose()
    assert await asyncio.to_thread(closed.wait, 20)
    await until(lambda: not way.node.admission.inside)


async def test_a_stream_obeys_its_deadline_while_it_waits(way: Way) -> None:
    chunks = (await way.channel.send(way.call(wait_in_a_stream, seconds=0.5))).value
    assert await anext(chunks) == 1
    with pytest.raises(DeadlineExceeded):
        async with asyncio.timeout(20):
            await anext(chunks)
    assert await asyncio.to_thread(closed.wait, 20)


async def test_a_stream_of_an_unknown_service_fails_at_its_first_value(way: Way) -> None:
    call = replace(way.call(count, to=1), service="nobody")
    with pytest.raises(NoRoute):
        await anext((await way.channel.send(call)).value)


async def test_many_calls_at_once_each_get_their_own_answer(way: Way) -> None:
    texts = [f"text {number}" for number in range(200)]
    answers = await asyncio.gather(*(way.value(text_of, text=text) for text in texts))
    assert answers == texts


async def test_timings_tell_the_time_of_the_node(way: Way) -> None:
    timings = (await way.channel.send(way.call(text_of, text="x"))).timings
    assert 0 < timings.node_ms < 20_000
    assert timings.service_ms <= timings.node_ms


async def test_the_node_describes_itself(way: Way) -> None:
    report = await way.channel.describe()
    assert (report.name, report.tier, report.state) == ("edge", "edge", "ready")
    assert report.clearance == NODE
    assert [model.name for model in report.models] == ["slow"]
    listed = {service.name: service for service in report.services}
    assert listed["count"].stream
    assert listed["text_of"].version == text_of.spec.version


async def test_reports_follow_the_state_and_end_with_the_node(way: Way) -> None:
    reports = way.channel.watch(0.05)
    assert (await anext(reports)).state == "ready"
    await way.node.become("draining")
    async with asyncio.timeout(20):
        while (await anext(reports)).state != "draining":
            pass
        await way.node.aclose()
        async for _ in reports:
            pass


async def test_reports_that_nobody_reads_any_more_are_given_up(way: Way) -> None:
    reports = way.channel.watch(60)
    await anext(reports)
    await reports.aclose()
    assert (await way.channel.describe()).name == "edge"


async def test_nothing_is_left_behind_by_calls_of_all_kinds(way: Way) -> None:
    """Ended, failed, cancelled and half-read calls leave no task, no place and no slot."""
    await way.channel.describe()
    await way.value(text_of, text="x")  # a session lives on between calls
    await asyncio.sleep(0.05)
    before = len(asyncio.all_tasks())
    for _ in range(10):
        await way.value(text_of, text="x")
        await way.refused(way.call(fail, text="x"), ServiceFailed)
        sending = asyncio.create_task(way.channel.send(way.call(wait_for_ever)))
        chunks = (await way.channel.send(way.call(count_blocking, to=10**6))).value
        await anext(chunks)
        await chunks.aclose()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await until(lambda: not way.node.admission.inside)
    await until(lambda: len(asyncio.all_tasks()) <= before)
