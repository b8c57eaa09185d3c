import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.core.apps import declarations_of
from orchestrator.core.call import Call
from orchestrator.core.errors import EndpointUnavailable, SettingsError
from orchestrator.decorators import edge_service
from orchestrator.models.store import ModelStore
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.serving.server import SERVICE, Binding, Server, check_access
from orchestrator.testing import FakeRuntime, free_port, listening, running_node
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Level

MakeCall = Callable[..., Call]
SECRET = Clearance(Level.SECRET)


@edge_service
async def greet() -> str:
    return "hello"


@edge_service
async def slow() -> str:
    await asyncio.sleep(0.3)
    return "done"


@asynccontextmanager
async def serving(node: Node, **binding: Any) -> AsyncIterator[tuple[Server, int]]:
    server = Server(node, Binding(**binding))
    try:
        yield server, await server.start()
    finally:
        await server.stop(0)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "", "192.168.1.9", "node.example"])
def test_plaintext_beyond_this_machine_must_be_asked_for(host: str, certificates: Any) -> None:
    with pytest.raises(SettingsError, match="--tls-cert and --tls-key, or say --insecure"):
        Binding(host).check()
    Binding(host, insecure=True).check()
    Binding(host, tls=certificates.node).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plaintext_on_this_machine_is_fine(host: str) -> None:
    Binding(host).check()


async def test_a_refused_binding_listens_nowhere() -> None:
    port = free_port()
    async with running_node("edge", greet) as node:
        with pytest.raises(SettingsError):
            await Server(node, Binding("0.0.0.0", port)).start()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_the_loopback_of_ipv6_can_be_written_without_brackets() -> None:
    async with running_node("edge", greet) as node, serving(node, host="::1") as (_, port):
        assert port > 0


async def test_a_taken_port_is_a_settings_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with running_node("edge", greet) as node:
            with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{port}: is the port taken"):
                await Server(node, Binding(port=port)).start()


async def test_two_servers_never_share_a_port(call_of: MakeCall) -> None:
    async with (
        running_node("edge", greet, name="first") as first,
        running_node("edge", greet, name="second") as second,
        serving(first) as (_, port),
    ):
        with pytest.raises(SettingsError, match="is the port taken"):
            await Server(second, Binding(port=port)).start()
        channel = UnaryChannel(f"127.0.0.1:{port}", SECRET)
        for _ in range(20):
            assert (await channel.describe()).name == "first"
        await channel.aclose()


async def test_a_port_is_free_again_after_the_stop() -> None:
    async with running_node("edge", greet) as node:
        async with serving(node) as (_, port):
            pass
        async with serving(node, port=port) as (_, again):
            assert again == port


async def test_health_is_truthful_through_the_life_of_a_node() -> None:
    options = NodeOptions(name="node-1", tier="edge", clearance=SECRET)
    node = Node(options, FakeRuntime("edge"), ModelStore(Path("nowhere")))
    status = health_pb2.HealthCheckResponse
    server = Server(node, Binding())
    address = f"127.0.0.1:{await server.start()}"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        async def becomes(wanted: int) -> None:
            async with asyncio.timeout(10):
                for service in ("", SERVICE):
                    request = health_pb2.HealthCheckRequest(service=service)
                    while (await stub.Check(request)).status != wanted:
                        await asyncio.sleep(0.005)

        await becomes(status.NOT_SERVING)
        await node.start(declarations_of([greet]), LocalCaller(node))
        await becomes(status.SERVING)
        await node.become("blocked")
        await becomes(status.NOT_SERVING)
        await node.become("ready")
        await becomes(status.SERVING)
        await node.drain(lame_duck=0, seconds=1)
        await becomes(status.NOT_SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    await server.stop(0)
    await node.aclose()


async def test_calls_inside_have_the_grace_to_finish(call_of: MakeCall, until: Any) -> None:
    async with running_node("edge", slow) as node:
        server = Server(node, Binding())
        channel = UnaryChannel(f"127.0.0.1:{await server.start()}", SECRET)
        inside = asyncio.create_task(channel.send(call_of(slow)))
        await until(lambda: node.admission.inside)
        await server.stop(10)
        assert (await inside).value == "done"
        await channel.aclose()


async def test_a_server_can_be_stopped_before_it_was_started_and_twice() -> None:
    async with running_node("edge", greet) as node:
        server = Server(node, Binding())
        await server.stop(0)
        async with serving(node) as (running, _):
            await running.stop(0)


async def test_many_callers_at_once_are_all_served(call_of: MakeCall) -> None:
    async with running_node("edge", greet) as node, listening(node) as address:
        channel = UnaryChannel(address, SECRET)
        replies = await asyncio.gather(*(channel.send(call_of(greet)) for _ in range(300)))
        assert {reply.value for reply in replies} == {"hello"}
        await channel.aclose()


async def test_a_node_listens_on_a_unix_socket_beside_its_port(
    tmp_path: Path, call_of: MakeCall
) -> None:
    path = tmp_path / "edge.sock"
    async with running_node("edge", greet) as node:
        async with serving(node, socket=path) as (_, port):
            for address in (f"unix:{path}", f"127.0.0.1:{port}"):
                channel = UnaryChannel(address, SECRET)
                assert (await channel.send(call_of(greet))).value == "hello"
                await channel.aclose()
            with pytest.raises(SettingsError, match="end that node"):
                await Server(node, Binding(socket=path)).start()
            channel = UnaryChannel(f"unix:{path}", SECRET)
            assert (await channel.send(call_of(greet))).value == "hello"  # it lives on
            await channel.aclose()
        assert not path.exists()


async def test_a_unix_socket_has_the_tls_of_the_port(
    tmp_path: Path, certificates: Any, call_of: MakeCall
) -> None:
    path = tmp_path / "edge.sock"
    async with (
        running_node("edge", greet) as node,
        serving(node, socket=path, tls=certificates.node) as (server, _),
    ):
        credentials = client_credentials(certificates.caller)
        good = UnaryChannel(f"unix:{path}", SECRET, credentials, "127.0.0.1")
        assert (await good.send(call_of(greet))).value == "hello"
        plain = UnaryChannel(f"unix:{path}", SECRET)
        with pytest.raises(EndpointUnavailable):
            await plain.send(call_of(greet))
        assert server._sessions.name == ""  # and nothing beside it goes around TLS
        await good.aclose()
        await plain.aclose()


async def test_a_socket_that_cannot_be_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no folder"):
        Binding(socket=tmp_path / "none" / "edge.sock").check()


@pytest.mark.parametrize(
    ("tokens", "ca", "tls", "host", "said"),
    [
        (None, True, True, "0.0.0.0", ""),
        (None, False, True, "127.0.0.1", "callers have to prove who they are"),
        (None, False, False, "127.0.0.1", "callers have to prove who they are"),
        ({}, False, True, "127.0.0.1", "callers have to prove who they are"),
        ({}, True, True, "0.0.0.0", ""),
        ({"need_certificate": False}, False, True, "0.0.0.0", ""),
        ({"need_certificate": False}, False, False, "127.0.0.1", ""),
        ({"need_certificate": False}, False, False, "0.0.0.0", "read tokens in plaintext"),
    ],
)
def test_an_access_file_needs_a_way_to_prove_who_one_is(
    tokens: dict[str, Any] | None, ca: bool, tls: bool, host: str, said: str
) -> None:
    given = {"keys": "keys.json", "audience": "a", **tokens} if tokens is not None else None
    access = AccessSettings.model_validate({"roles": {}, "identities": {}, "tokens": given})
    file = Path("x.pem")
    files = TlsFiles(file if ca else None, file, file) if tls else None
    binding = Binding(host, 1, files, insecure=True)
    try:
        check_access(access, binding)
        refusal = ""
    except SettingsError as error:
        refusal = str(error)
    assert said in refusal
    assert bool(said) == bool(refusal)
