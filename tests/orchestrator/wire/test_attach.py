import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from orchestrator.core.errors import AccessDenied, SettingsError, WireError
from orchestrator.core.report import NodeReport
from orchestrator.testing import ManualClock, free_port
from orchestrator.wire import attach
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.connection import REPLACED
from orchestrator.wire.frames import (
    ATTACH,
    Kind,
    encode_frame,
    encode_message,
    encode_report_message,
)
from orchestrator.wire.messages import encode_report
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.status import error_of
from policies.facts import Clearance, Level
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import OrchestratorStub

if TYPE_CHECKING:
    from tests.conftest import Authority, Certificates

Until = Callable[[Callable[[], object]], Awaitable[None]]
CANARY = "canary-9c1e"


def first(name: str = "edge-7") -> bytes:
    report = NodeReport(name, "edge", "ready", Clearance(Level.SECRET))
    body = encode_report(report).SerializeToString()
    return encode_report_message(0, body)


class Dialling:
    """What a node dials with: its messages pass as the bytes they are."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.Attach: Any = channel.stream_stream(ATTACH)
        self.ListNodes: Any = OrchestratorStub(channel).ListNodes


class Hub:
    """An orchestrator that listens, and what it is dialled with."""

    def __init__(self, tls: TlsFiles | None, *identities: str) -> None:
        self.nodes = {name: AttachedNode(f"entry of {name}", "here") for name in identities}
        self.clock = ManualClock()
        self.name = ""  # in its certificate, if not the address
        self.address = f"127.0.0.1:{free_port()}"
        self.server = AttachServer(self.address, tls, self.nodes, self.clock)

    @asynccontextmanager
    async def dialled(self, tls: TlsFiles | None = None) -> AsyncIterator[Any]:
        options: list[Any] = [("grpc.use_local_subchannel_pool", 1)]
        if self.name:
            options.append(("grpc.ssl_target_name_override", self.name))
        if tls:
            channel = grpc.aio.secure_channel(self.address, client_credentials(tls), options)
        else:
            channel = grpc.aio.insecure_channel(self.address, options)
        async with channel:
            yield Dialling(channel)

    async def refused(self, call: Any) -> Any:
        """Return why a stream is refused, as the node understands it."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(20):
                await call.read()
        return error_of(caught.value, "hub")


@asynccontextmanager
async def listening_hub(tls: TlsFiles | None, *identities: str) -> AsyncIterator[Hub]:
    hub = Hub(tls, *identities)
    await hub.server.start()
    try:
        yield hub
    finally:
        await hub.server.aclose()


@pytest.fixture
async def plain() -> AsyncIterator[Hub]:
    async with listening_hub(None, "edge-7", "edge-8") as hub:
        yield hub


async def test_in_plaintext_a_node_is_whom_it_says_it_is(plain: Hub, until: Until) -> None:
    async with plain.dialled() as stub:
        call = stub.Attach()
        await call.write(first("edge-8"))
        await call.initial_metadata()
        await until(lambda: plain.nodes["edge-8"].attached)
        assert not plain.nodes["edge-7"].attached
        call.cancel()
        await until(lambda: not plain.nodes["edge-8"].attached)


async def test_a_name_that_is_not_in_the_settings_is_refused_in_a_fixed_sentence(
    plain: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    async with plain.dialled() as stub:
        for name in ("", CANARY, "EDGE-7", "edge-7 "):
            call = stub.Attach()
            await call.write(first(name))
            error = await plain.refused(call)
            assert type(error) is AccessDenied
            assert str(error) == "hub: no attached node of its settings has that identity"


async def test_a_stranger_is_logged_once_a_minute_and_strangers_cannot_fill_the_log(
    plain: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    async def try_as(*names: str) -> int:
        caplog.clear()
        async with plain.dialled() as stub:
            for name in names:
                call = stub.Attach()
                await call.write(first(name))
                await plain.refused(call)
        return len([r for r in caplog.records if "wants to attach" in r.getMessage()])

    assert await try_as("x", "x", "x") == 1
    plain.clock.turn(59.0)
    assert await try_as("x", "y") == 1
    plain.clock.turn(2.0)
    assert await try_as("x", "x") == 1
    assert await try_as(*(f"{number}" for number in range(150))) <= 100
    plain.clock.turn(61.0)
    assert await try_as("a\nb" * 100) == 1
    assert "\n" not in caplog.records[-1].getMessage()
    assert len(caplog.records[-1].getMessage()) < 300


@pytest.mark.parametrize(
    "frames",
    [
        b"",
        b"?",
        encode_message([encode_frame(Kind.RESULT, 1)]),
        encode_report_message(0, CANARY.encode()),
        encode_message([encode_frame(Kind.REPORT, 0)] * 2),
    ],
)
async def test_a_stream_that_does_not_begin_with_a_report_is_refused(
    plain: Hub, frames: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with plain.dialled() as stub:
        call = stub.Attach()
        await call.write(frames)
        error = await plain.refused(call)
    assert type(error) is WireError
    assert CANARY not in f"{error} {caplog.text}"


async def test_a_stream_on_which_nothing_comes_is_ended(
    plain: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_FIRST_SECONDS", 0.1)
    async with plain.dialled() as stub:
        assert type(await plain.refused(stub.Attach())) is WireError


async def test_a_message_that_is_too_long_never_reaches_the_memory_of_python(plain: Hub) -> None:
    async with plain.dialled() as stub:
        call = stub.Attach()
        await call.write(encode_report_message(0, bytes(2**21)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is not grpc.StatusCode.OK
    assert not plain.nodes["edge-7"].attached


async def test_a_failure_of_our_own_says_nothing_to_the_other_side(
    plain: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> bool:
        raise LookupError(CANARY)

    monkeypatch.setattr(plain.nodes["edge-7"], "serve", fail)
    async with plain.dialled() as stub:
        call = stub.Attach()
        await call.write(first())
        error = await plain.refused(call)
    assert type(error) is WireError
    assert CANARY not in f"{error} {caplog.text}"
    assert "an attached stream failed: LookupError" in caplog.text


async def test_the_older_of_two_streams_ends_with_a_status_of_its_own(
    plain: Hub, until: Until
) -> None:
    async with plain.dialled() as one, plain.dialled() as other:
        older = one.Attach()
        await older.write(first())
        await until(lambda: plain.nodes["edge-7"].attached)
        newer = other.Attach()
        await newer.write(first())
        assert await older.code() is REPLACED
        assert plain.nodes["edge-7"].attached
        newer.cancel()


async def test_with_tls_a_node_is_who_its_certificate_says_and_not_who_it_says(
    certificates: "Certificates", until: Until
) -> None:
    async with listening_hub(certificates.node, "caller.example", "edge-7") as hub:
        async with hub.dialled(certificates.caller) as stub:
            call = stub.Attach()
            await call.write(first("edge-7"))
            await until(lambda: hub.nodes["caller.example"].attached)
            assert not hub.nodes["edge-7"].attached
            call.cancel()


@pytest.mark.parametrize(
    ("names", "common", "known", "passes"),
    [
        (["a.example", "b.example"], None, ["b.example"], True),
        ([], "a.example", ["a.example"], False),  # a common name counts for nothing
        (["b.example"], "a.example", ["a.example"], False),  # a common name beside others
        (["*.example"], None, ["a.example"], False),
        (["a.example", "b.example"], None, ["a.example", "b.example"], False),  # which of them?
        (["127.0.0.9"], None, ["127.0.0.9"], True),
    ],
)
async def test_a_certificate_is_known_by_its_names_as_they_are(
    names: list[str], common: str | None, known: list[str], passes: bool, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def issue(name: str, *identities: str, common: str | None = None) -> TlsFiles:
        issued = authority.issue_cert(*identities, common_name=common)
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / name))
        return TlsFiles(tmp_path / "ca.pem", tmp_path / name, tmp_path / name)

    its = issue("node.pem", *names, common=common)
    async with listening_hub(issue("hub.pem", "127.0.0.1"), *known) as hub:
        async with hub.dialled(its) as stub:
            call = stub.Attach()
            with suppress(grpc.aio.AioRpcError):  # it may have been refused by now
                await call.write(first())
            if passes:
                await call.initial_metadata()
                assert not call.done()
                call.cancel()
            else:
                assert type(await hub.refused(call)) is AccessDenied


async def test_a_port_that_is_taken_is_a_settings_error(plain: Hub) -> None:
    second = AttachServer(plain.address, None, {})
    with pytest.raises(SettingsError, match="does another orchestrator listen there"):
        await second.start()
    await second.aclose()


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    tls = TlsFiles(cert=tmp_path / "missing.pem", key=tmp_path / "missing.key")
    with pytest.raises(SettingsError, match=r"missing\.\w+ cannot be read"):
        await AttachServer(f"127.0.0.1:{free_port()}", tls, {}).start()


async def test_closing_ends_the_streams_and_frees_the_port(plain: Hub, until: Until) -> None:
    async with plain.dialled() as stub:
        call = stub.Attach()
        await call.write(first())
        await until(lambda: plain.nodes["edge-7"].attached)
        await plain.server.aclose()
        await call.code()
    again = AttachServer(plain.address, None, {})
    await again.start()
    await again.aclose()


async def test_in_plaintext_anyone_may_ask_which_nodes_there_are(plain: Hub, until: Until) -> None:
    async with plain.dialled() as stub:
        call = stub.Attach()
        await call.write(first())
        await until(lambda: plain.nodes["edge-7"].attached)
        there, missing = (await stub.ListNodes(pb.ListNodesRequest())).nodes
        assert (there.name, there.report.name) == ("entry of edge-7", "edge-7")
        assert (missing.name, missing.HasField("report")) == ("entry of edge-8", False)
        call.cancel()


async def test_with_tls_only_the_orchestrator_itself_may_ask(
    certificates: "Certificates", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with listening_hub(certificates.node, "caller.example") as hub:
        async with hub.dialled(certificates.caller) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListNodes(pb.ListNodesRequest())
            assert type(error_of(caught.value, "hub")) is AccessDenied
        async with hub.dialled(certificates.node) as stub:  # the control
            (entry,) = (await stub.ListNodes(pb.ListNodesRequest())).nodes
            assert entry.name == "entry of caller.example"


async def test_certificates_are_renewed_where_nodes_attach_and_old_ones_refused(
    make_authority: Callable[[str], "Authority"], until: Until
) -> None:
    old, new = make_authority("old"), make_authority("new")
    ours = old.issue("127.0.0.1", "hub.example")
    before = old.issue("edge-7.example")

    async def attached(hub: Hub, tls: TlsFiles) -> bool:
        async with hub.dialled(tls) as stub:
            call = stub.Attach()
            try:
                await call.write(first())
                return "isthmus-attached" in dict(await call.initial_metadata())
            except grpc.aio.AioRpcError:
                return False
            finally:
                call.cancel()

    async with listening_hub(ours, "edge-7.example", "edge-8.example") as hub:
        hub.name = "hub.example"
        async with hub.dialled(before) as stub:
            steady = stub.Attach()
            await steady.write(first())
            await until(lambda: hub.nodes["edge-7.example"].attached)
            assert await attached(hub, old.issue("edge-8.example"))  # the control
            new.issue("hub.example", into=ours)
            assert ours.ca
            ours.ca.write_bytes(new.pem)
            assert await attached(hub, new.issue("edge-8.example"))
            late = old.issue("edge-8.example", ca=new.ca)  # its certificate alone is old
            assert not await attached(hub, late)
            assert hub.nodes["edge-7.example"].attached  # what was attached stays
            steady.cancel()
