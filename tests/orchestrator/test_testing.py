import asyncio
import socket
from pathlib import Path

import numpy as np
import pytest

from orchestrator import Orchestrator, TensorModel
from orchestrator.core.call import Call
from orchestrator.core.catalogue import declared
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import (
    EndpointUnavailable,
    ModelUnavailable,
    PrivacyRefused,
    UsageError,
)
from orchestrator.core.labels import Secret, Sensitive
from orchestrator.core.model import Batch, Stop, TensorSpec
from orchestrator.core.report import NodeReport
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import (
    FakeRuntime,
    ManualClock,
    ScriptedChannel,
    as_node,
    fake_model,
    free_port,
    fresh_catalogue,
    listening,
    running_node,
)
from policies.facts import Clearance, Label, Level, Placement

net = TensorModel("net")
VECTOR = TensorSpec("x", "float32", ("batch", 2))


@edge_service
def mask(text: Sensitive[str]) -> Sensitive[str]:
    return text.with_value("*" * len(text.value))


@edge_service(models=[net])
async def predict(x: np.ndarray) -> np.ndarray:
    return (await net.aio({"x": x}))["y"]


@edge_service
def uses_model(x: np.ndarray) -> np.ndarray:
    return net({"x": x})["y"]


@cloud_service
def upload(text: str) -> str:
    return text


def double(batch: Batch, stop: Stop) -> Batch:
    return {"y": 2 * batch["x"]}


def call(service: str = "mask", label: Label | None = None, **arguments: object) -> Call:
    return Call(
        id="0" * 16,
        trace="0" * 32,
        service=service,
        version="",
        arguments=arguments,
        label=label or Label(),
        deadline=Deadline.after(10.0),
        placement=Placement("edge"),
    )


def test_a_manual_clock_moves_when_it_is_turned() -> None:
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    clock.turn(2.5)
    assert clock() == 7.5


def test_a_body_run_by_hand_opens_what_its_node_may_see() -> None:
    with as_node("edge"):
        assert mask.local(Sensitive("abc")).reveal("test") == "***"
    with as_node("cloud"), pytest.raises(PrivacyRefused, match="above clearance internal"):
        mask.local(Sensitive("abc"))
    with pytest.raises(PrivacyRefused, match="inside a service's body only"):
        mask.local(Sensitive("abc"))


def test_a_body_run_by_hand_on_a_node_of_ones_own_clearance() -> None:
    with as_node("cloud", Clearance(Level.SECRET)):
        assert Secret("abc").value == "abc"


def test_a_body_run_by_hand_has_no_models_and_names_what_has() -> None:
    with as_node("edge"), pytest.raises(UsageError, match="use running_node"):
        uses_model.local(np.zeros((1, 2), np.float32))
    with as_node("edge"), pytest.raises(UsageError, match="use running_node"):
        asyncio.run(predict.local(np.zeros((1, 2), np.float32)))


async def test_a_running_node_serves_with_plain_functions_for_models(tmp_path: Path) -> None:
    fake_model(tmp_path, "net", [VECTOR], [TensorSpec("y", "float32", ("batch", 2))])
    array = np.ones((3, 2), np.float32)
    async with running_node("edge", predict, store=tmp_path, models={"net": double}) as node:
        reply = await node.handle(call("predict", x=array))
        assert [model.name for model in node.report().models] == ["net"]
    assert reply.value.tolist() == (2 * array).tolist()


async def test_a_node_whose_model_is_not_in_the_store_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="net"):
        async with running_node("edge", predict, store=tmp_path):
            pass


async def test_a_running_node_leaves_out_what_never_runs_on_its_tier() -> None:
    async with running_node("cloud", mask, upload) as node:
        assert [service.name for service in node.report().services] == ["upload"]
        assert (node.name, node.tier, node.clearance) == (
            "cloud",
            "cloud",
            Clearance(Level.INTERNAL),
        )


async def test_a_running_node_refuses_what_it_is_not_cleared_for() -> None:
    secret = call(label=Label(Level.SECRET), text=Sensitive("abc"))
    async with running_node("edge", mask) as node:
        assert (await node.handle(secret)).value.reveal("test") == "***"
    async with running_node("edge", mask, clearance=Clearance(Level.INTERNAL)) as node:
        with pytest.raises(PrivacyRefused, match="label secret is above clearance internal"):
            await node.handle(secret)


async def test_a_listening_node_is_called_over_grpc() -> None:
    async with running_node("edge", mask) as node, listening(node) as address:
        entry = {"name": "e", "tier": "edge", "address": address, "clearance": "secret"}
        async with Orchestrator({"nodes": [{**entry, "insecure": True}]}, app=[mask]):
            result = await mask.aio.call(Sensitive("abc"))
    assert result.node == "e"
    assert result.value.reveal("test") == "***"


async def test_a_scripted_channel_answers_in_order_and_keeps_what_it_was_sent() -> None:
    report = NodeReport("edge-1", "edge", "ready", Clearance(Level.SECRET))
    channel = ScriptedChannel(Clearance(Level.SECRET), report, ["a", EndpointUnavailable("gone")])
    assert (await channel.send(call(x=1))).value == "a"
    with pytest.raises(EndpointUnavailable, match="gone"):
        await channel.send(call(x=2))
    assert [sent.arguments for sent in channel.sent] == [{"x": 1}, {"x": 2}]
    assert await channel.describe() is report
    assert await anext(channel.watch(1.0)) is report


async def test_a_scripted_channel_has_the_same_guard_as_every_other() -> None:
    report = NodeReport("cloud-1", "cloud", "ready", Clearance(Level.INTERNAL))
    channel = ScriptedChannel(Clearance(Level.INTERNAL), report, ["a", "b"])
    for refused in (call(label=Label(Level.SENSITIVE)), call(x=Secret("abc"))):
        with pytest.raises(PrivacyRefused):
            await channel.send(refused)
    assert channel.sent == []
    assert (await channel.send(call(x="open"))).value == "a"


async def test_a_scripted_channel_without_more_answers_says_so() -> None:
    report = NodeReport("edge-1", "edge", "ready", Clearance(Level.SECRET))
    with pytest.raises(AssertionError, match="script"):
        await ScriptedChannel(Clearance(Level.SECRET), report).send(call(x=1))


def test_a_fake_runtime_notes_what_is_loaded_and_what_is_wrong() -> None:
    runtime = FakeRuntime("edge", {"net": double})
    assert runtime.health() is None
    runtime.problem = "out of memory"
    assert runtime.health() == "out of memory"
    assert runtime.run("net", {"x": np.ones(2)}, Stop())["y"].tolist() == [2.0, 2.0]


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()


def test_a_test_starts_with_an_empty_catalogue_of_its_own() -> None:
    assert declared() == []
    edge_service(mask.local, name="declared here")
    with fresh_catalogue():
        assert declared() == []
    assert [declaration.spec.name for declaration in declared()] == ["declared here"]
