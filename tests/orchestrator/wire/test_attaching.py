import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from orchestrator.core.errors import AccessDenied, CallError, EndpointUnavailable, SettingsError
from orchestrator.serving.node import Node
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire import attaching
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.attaching import NodeStream, Replaced, attached_to
from orchestrator.wire.connection import ACCEPTED
from orchestrator.wire.frames import Kind, encode_frame, encode_message
from orchestrator.wire.security import TlsFiles

if TYPE_CHECKING:
    from tests.conftest import Certificates

Until = Callable[[Callable[[], object]], Awaitable[None]]


def message(number: int, size: int = 10) -> bytes:
    return encode_message([encode_frame(Kind.RESULT, number, bytes(size))])


class Ends:
    """Both ends of attached streams: a node, and an orchestrator that listens for it."""

    def __init__(self, node: Node, link: AttachedNode, server: AttachServer, address: str) -> None:
        self.node, self.link, self.server, self.address = node, link, server, address
        self.over = asyncio.Event()

    @asynccontextmanager
    async def dialled(self, address: str = "") -> AsyncIterator[NodeStream]:
        async with attached_to(address or self.address, None, self.node, self.over.set) as stream:
            yield stream

    async def fails(self, address: str = "") -> CallError:
        with pytest.raises(CallError) as caught:
            async with self.dialled(address):
                pass
        return caught.value


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    link, address = AttachedNode("edge-7", "here"), f"127.0.0.1:{free_port()}"
    server = AttachServer(address, None, {"edge": link})
    await server.start()
    async with running_node("edge") as node:
        yield Ends(node, link, server, address)
    await server.aclose()


async def test_a_node_reports_at_once_on_every_change_and_again_and_again(
    ends: Ends, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "REPORT_SECONDS", 0.05)
    async with ends.dialled():
        reports = ends.link.watch(0.0)
        first, second = await anext(reports), await anext(reports)
        assert (first.state, second.state) == ("ready", "ready")
        assert second.uptime_ms > first.uptime_ms
        await ends.node.become("draining")
        async with asyncio.timeout(5):
            while (await anext(reports)).state != "draining":
                pass


async def test_a_question_is_answered_at_once(ends: Ends) -> None:
    async with ends.dialled():
        async with asyncio.timeout(0.4):  # the next report comes after half a second
            for _ in range(3):
                assert (await ends.link.describe()).name == "edge"


async def test_the_end_of_the_nodes_reports_is_told(ends: Ends) -> None:
    async with ends.dialled():
        assert not ends.over.is_set()
        await ends.node.end_reports()
        async with asyncio.timeout(5):
            await ends.over.wait()


async def test_messages_of_the_session_pass_both_ways_and_reports_stay_out_of_it(
    ends: Ends,
) -> None:
    async with ends.dialled() as stream:
        theirs = (await ends.link.opener(1.0))()
        await ends.link.describe()
        for number in (1, 2):
            await theirs.write(message(number))
            assert await stream.read() == message(number)
        for number in (3, 4):
            await stream.write(message(number))
            assert await theirs.read() == message(number)


async def test_many_writers_at_once_do_not_hurt_each_other(ends: Ends) -> None:
    async with ends.dialled() as stream:
        theirs = (await ends.link.opener(1.0))()
        writing = [
            asyncio.ensure_future(stream.write(message(number, 9000))) for number in range(20)
        ]
        asking = asyncio.ensure_future(ends.link.describe())
        got = [await theirs.read() for _ in range(20)]
        assert got == [message(number, 9000) for number in range(20)]
        await asyncio.gather(*writing, asking)


async def test_a_cancelled_read_does_not_end_the_stream(ends: Ends) -> None:
    async with ends.dialled() as stream:
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert (await ends.link.describe()).name == "edge"
        theirs = (await ends.link.opener(1.0))()
        await theirs.write(message(1))
        assert await stream.read() == message(1)


async def test_what_was_said_before_the_end_arrives_before_the_end(ends: Ends) -> None:
    async with ends.dialled() as stream:
        theirs = (await ends.link.opener(1.0))()
        for number in range(20):
            await stream.write(message(number, 50_000))
        await stream.finish()
    heard = [await theirs.read() for _ in range(21)]
    assert heard == [*(message(number, 50_000) for number in range(20)), None]


async def test_an_unread_message_does_not_hold_the_end_up(ends: Ends, until: Until) -> None:
    async with ends.dialled() as stream:
        theirs = (await ends.link.opener(1.0))()
        for number in range(3):
            await theirs.write(message(number))
        async with asyncio.timeout(1.5):
            await stream.finish()
    await until(lambda: not ends.link.attached)


async def test_a_node_that_the_settings_do_not_name_hears_so(ends: Ends) -> None:
    ends.node.name = "edge-9"
    error = await ends.fails()
    assert type(error) is AccessDenied
    assert str(error) == f"{ends.address}: no attached node of its settings has that identity"


async def test_an_older_stream_hears_that_another_node_took_its_place(ends: Ends) -> None:
    async with ends.dialled() as older, ends.dialled():
        assert await older.read() is None
        assert type(await older.reason()) is Replaced
        assert (await ends.link.describe()).name == "edge"


async def test_a_stream_that_the_orchestrator_ends_says_that_it_went_away(ends: Ends) -> None:
    async with ends.dialled() as stream:
        await ends.server.aclose()
        assert await stream.read() is None
        assert str(await stream.reason()) == f"{ends.address} went away"


@pytest.mark.parametrize("code", ["CANCELLED", "UNAVAILABLE", "UNKNOWN", "INTERNAL", "OK"])
async def test_a_stream_that_ends_in_any_way_is_told_to_the_node(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    async def end(context: Any) -> bool:
        await context.send_initial_metadata((ACCEPTED,))
        await asyncio.sleep(0.1)
        if code != "OK":
            await context.abort(grpc.StatusCode[code], "")
        return False

    monkeypatch.setattr(ends.server, "_serve", end)
    async with ends.dialled() as stream:
        async with asyncio.timeout(5):
            assert await stream.read() is None
            assert type(await stream.reason()) is EndpointUnavailable


async def test_a_question_that_makes_no_sense_ends_the_stream(ends: Ends) -> None:
    async with ends.dialled() as stream:
        theirs = (await ends.link.opener(1.0))()
        await theirs.write(encode_message([encode_frame(Kind.REPORT, 1)] * 2))
        async with asyncio.timeout(5):
            assert await stream.read() is None
            assert type(await stream.reason()) is EndpointUnavailable


async def test_nobody_there_and_a_node_there_are_told_apart(ends: Ends) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    assert f"no connection to {nobody}: is the orchestrator" in str(await ends.fails(nobody))
    async with listening(ends.node) as address:
        error = await ends.fails(address)
    assert str(error) == f"{address} is no address that an orchestrator listens on"


async def test_an_orchestrator_that_accepts_nobody_is_left(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(context: object) -> bool:
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(attaching, "_ACCEPT_SECONDS", 0.1)
    monkeypatch.setattr(ends.server, "_serve", never)
    assert str(await ends.fails()) == f"{ends.address} does not answer"


async def test_a_certificate_is_read_anew_each_time(
    certificates: "Certificates", tmp_path: Path
) -> None:
    link, address = AttachedNode("edge-7", "here"), f"127.0.0.1:{free_port()}"
    server = AttachServer(address, certificates.node, {"caller.example": link})
    ours = certificates.caller
    files = replace(ours, cert=tmp_path / "me.pem", key=tmp_path / "me.key")
    await server.start()

    async def attach(tls: TlsFiles) -> None:
        async with running_node("edge") as node:
            async with attached_to(address, tls, node, lambda: None):
                assert link.attached

    with pytest.raises(SettingsError, match="cannot be read"):
        await attach(files)
    for to, source in ((files.cert, ours.cert), (files.key, ours.key)):
        assert to
        assert source
        to.write_bytes(source.read_bytes())
    await attach(files)
    await server.aclose()


async def test_nothing_is_left_behind_by_streams_that_end_in_any_way(ends: Ends) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(3):
        async with ends.dialled() as stream:
            await stream.finish()
        with pytest.raises(RuntimeError):
            async with ends.dialled():
                raise RuntimeError
        with pytest.raises(EndpointUnavailable):
            async with ends.dialled("127.0.0.1:1"):
                pass
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.02)
