"""Certificates and tokens change under load, and no call fails."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import CallError, EndpointUnavailable, SettingsError
from orchestrator.decorators import edge_service
from orchestrator.serving.server import Binding
from orchestrator.testing import ScriptedChannel, listening, running_node
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.renewed import RenewedChannel
from orchestrator.wire.security import TlsFiles, client_credentials
from policies.facts import Clearance, Level

if TYPE_CHECKING:
    from tests.conftest import Authority

SECRET = Clearance(Level.SECRET)
Calls = Callable[..., Call]
Authorities = Callable[[str], "Authority"]


@edge_service
async def nap(length: float) -> float:
    await asyncio.sleep(length)
    return length


@edge_service
async def count(to: int, length: float) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(length)
        yield number


def paths(files: TlsFiles) -> list[Path]:
    return [path for path in (files.ca, files.cert, files.key) if path]


class Ends:
    """A node and a caller with files of their own, which a test replaces."""

    def __init__(self, folder: Path, authority: "Authority") -> None:
        self.node, self.caller = (self._files(folder, name) for name in ("node", "caller"))
        self.issue(authority)
        self.trust(authority)

    @staticmethod
    def _files(folder: Path, name: str) -> TlsFiles:
        return TlsFiles(*(folder / f"{name}.{end}" for end in ("ca", "pem", "key")))

    def issue(self, authority: "Authority") -> None:
        """Give both ends new certificates, file by file as a tool would."""
        authority.issue("node.example", into=self.node)
        authority.issue("caller.example", into=self.caller)

    def trust(self, *authorities: "Authority") -> None:
        """Say whom both ends trust."""
        for files in (self.node, self.caller):
            assert files.ca
            fresh = files.ca.with_suffix(".new")
            fresh.write_bytes(b"".join(authority.pem for authority in authorities))
            os.replace(fresh, files.ca)

    def channel(self, address: str, interval: float = 0.05) -> RenewedChannel:
        def make() -> SessionChannel:
            return SessionChannel(address, SECRET, client_credentials(self.caller), "node.example")

        return RenewedChannel(make, paths(self.caller), "edge-1", interval)


@pytest.fixture
def ends(tmp_path: Path, authority: "Authority") -> Ends:
    return Ends(tmp_path, authority)


@asynccontextmanager
async def node_of(ends: Ends) -> AsyncIterator[str]:
    async with running_node("edge", nap, count) as node:
        async with listening(node, Binding(tls=ends.node)) as address:
            yield address


def renewals(caplog: pytest.LogCaptureFixture) -> int:
    return len([r for r in caplog.records if "uses its new files" in r.getMessage()])


async def test_certificates_and_authorities_change_under_load_and_no_call_fails(
    ends: Ends,
    make_authority: Authorities,
    authority: "Authority",
    call_of: Calls,
    until: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with node_of(ends) as address:
        channel = ends.channel(address)
        done, over = 0, asyncio.Event()

        async def load() -> None:
            nonlocal done
            while not over.is_set():
                assert (await channel.send(call_of(nap, length=0.02))).value == 0.02
                done += 1

        async def stream() -> None:
            chunks = (await channel.send(call_of(count, to=100, length=0.01))).value
            assert [number async for number in chunks] == list(range(100))

        workers = [asyncio.create_task(load()) for _ in range(8)]
        streams, trusted = [], authority
        for turn in range(1, 5):
            streams.append(asyncio.create_task(stream()))
            fresh = make_authority(f"authority-{turn}")
            ends.trust(trusted, fresh)  # first trust both, then sign anew, then forget the old
            seen = renewals(caplog)
            await until(lambda seen=seen: renewals(caplog) > seen)
            ends.issue(fresh)
            ends.trust(fresh)
            seen = renewals(caplog)
            await until(lambda seen=seen: renewals(caplog) > seen)
            trusted = fresh
        await asyncio.gather(*streams)
        over.set()
        await asyncio.gather(*workers)  # raises what any call raised
        assert done > 200
        await until(lambda: not channel._ending)  # the old ways have ended
        await channel.aclose()


async def test_old_certificates_are_refused_once_their_authority_is_gone(
    ends: Ends, make_authority: Authorities, authority: "Authority", call_of: Calls
) -> None:
    old = authority.issue("caller.example")
    async with node_of(ends) as address:

        async def sent() -> bool:
            credentials = client_credentials(old)
            channel = SessionChannel(address, SECRET, credentials, "node.example")
            try:
                await channel.send(call_of(nap, length=0.0))
            except EndpointUnavailable:
                return False
            finally:
                await channel.aclose()
            return True

        assert await sent()  # the control
        fresh = make_authority("fresh")
        ends.issue(fresh)
        ends.trust(fresh)
        old = authority.issue("caller.example", ca=ends.caller.ca)  # it trusts the node, though
        assert not await sent()


async def test_a_call_under_way_ends_on_the_way_it_began_on(
    ends: Ends, authority: "Authority", call_of: Calls, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with node_of(ends) as address:
        channel = ends.channel(address)
        long = asyncio.create_task(channel.send(call_of(nap, length=1.5)))
        chunks = (await channel.send(call_of(count, to=3, length=0.0))).value
        assert await anext(chunks) == 0
        ends.issue(authority)
        await until(lambda: renewals(caplog))
        assert len(channel._ending) == 1
        assert [number async for number in chunks] == [1, 2]
        assert (await channel.send(call_of(nap, length=0.0))).value == 0.0
        assert channel._ending  # for one call is still on it
        assert (await long).value == 1.5
        await until(lambda: not channel._ending)
        await channel.aclose()


async def test_reports_go_on_over_the_new_way(
    ends: Ends, authority: "Authority", until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with node_of(ends) as address:
        channel = ends.channel(address)
        async with aclosing(channel.watch(0.05)) as reports:
            assert (await anext(reports)).name == "edge"
            ends.issue(authority)
            while not renewals(caplog):
                await anext(reports)
            for _ in range(5):
                assert (await anext(reports)).name == "edge"
            await until(lambda: not channel._ending)
        await channel.aclose()


@pytest.mark.parametrize("wrong", ["half", "stranger", "missing"])
async def test_files_that_do_not_lead_to_the_node_are_not_used(
    wrong: str,
    ends: Ends,
    authority: "Authority",
    make_authority: Authorities,
    call_of: Calls,
    until: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    assert ends.caller.cert
    async with node_of(ends) as address:
        channel = ends.channel(address)
        assert (await channel.send(call_of(nap, length=0.0))).value == 0.0
        if wrong == "half":
            ends.caller.cert.write_text("-----BEGIN CERT")
        elif wrong == "stranger":
            make_authority("stranger").issue("caller.example", into=ends.caller)
        else:
            ends.caller.cert.unlink()
        await until(lambda: "keeps its old files" in caplog.text)
        await asyncio.sleep(0.2)
        said = [r for r in caplog.records if "keeps its old files" in r.getMessage()]
        assert len(said) == 1
        assert (await channel.send(call_of(nap, length=0.0))).value == 0.0
        assert renewals(caplog) == 0
        authority.issue("caller.example", into=ends.caller)
        await until(lambda: renewals(caplog))  # the control
        await channel.aclose()


def test_files_that_are_no_good_at_the_start_are_an_error(ends: Ends) -> None:
    assert ends.caller.cert
    ends.caller.cert.write_text("nothing")
    with pytest.raises(SettingsError):
        ends.channel("127.0.0.1:1")


async def test_a_stream_that_nobody_reads_does_not_hold_the_old_way(
    tmp_path: Path, call_of: Calls, until: Any
) -> None:
    async def values() -> AsyncIterator[int]:
        yield 1

    from orchestrator.core.call import Chunks, Timings
    from orchestrator.core.report import NodeReport

    report = NodeReport("edge", "edge", "ready", SECRET)
    made: list[ScriptedChannel] = []

    def make() -> ScriptedChannel:
        source: Any = values()
        made.append(ScriptedChannel(SECRET, report, [Chunks(source, Timings)]))
        return made[-1]

    file = tmp_path / "token"
    file.write_text("one")
    channel = RenewedChannel(make, [file], "edge-1", 0.02)
    reply = await channel.send(call_of(count, to=1, length=0.0))
    file.write_text("two")
    await until(lambda: len(made) == 2 and channel._ending)
    del reply
    await until(lambda: not channel._ending)
    await channel.aclose()


async def test_closing_ends_what_is_still_under_way(
    ends: Ends, authority: "Authority", call_of: Calls, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with node_of(ends) as address:
        channel = ends.channel(address)
        held = asyncio.create_task(
            channel.send(
                call_of(
                    nap,
                    length=60.0,
                )
            )
        )
        await asyncio.sleep(0.2)
        ends.issue(authority)
        await until(lambda: renewals(caplog))
        await channel.aclose()
        with pytest.raises(CallError):
            await held
