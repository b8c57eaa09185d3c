"""Nodes that nobody can dial: they attach to the orchestrator and serve it all the same."""

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from orchestrator import Internal, Orchestrator, Sensitive
from orchestrator.core.errors import (
    CallError,
    NoRoute,
    OutcomeUnknown,
    PrivacyRefused,
    SettingsError,
)
from orchestrator.testing import free_port
from orchestrator.wire.security import TlsFiles

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Run, Start, Until

Issue = Callable[..., TlsFiles]
APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="module")
def issue(tmp_path_factory: pytest.TempPathFactory) -> Issue:
    """Issues a certificate for names; by a stranger's authority if told so."""
    folder = tmp_path_factory.mktemp("attach")
    authorities = {"ours": trustme.CA(), "strangers": trustme.CA()}
    for name, authority in authorities.items():
        authority.cert_pem.write_to_path(str(folder / f"{name}.pem"))

    def issue(*names: str, by: str = "ours", common_name: str | None = None) -> TlsFiles:
        issued = authorities[by].issue_cert(*names, common_name=common_name)
        made = folder / f"{by}-{names[0] if names else common_name}"
        cert, key = made.with_suffix(".cert.pem"), made.with_suffix(".key")
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        return TlsFiles(folder / f"{by}.pem", cert, key)

    return issue


class Hub:
    """Where nodes attach, in one test."""

    def __init__(self, tls: TlsFiles | None = None, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.listen: dict[str, Any] = {"address": f"{host}:{self.port}"}
        if tls:
            self.listen["tls"] = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
        else:
            self.listen["insecure"] = True

    @property
    def flags(self) -> list[str]:
        return ["--attach", f"127.0.0.1:{self.port}"]

    def settings(self, *nodes: dict[str, Any]) -> dict[str, Any]:
        return {"listen": self.listen, "nodes": list(nodes)}


def flags_of(tls: TlsFiles) -> list[str]:
    return ["--tls-ca", str(tls.ca), "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]


def entry(name: str = "edge-7", tier: str = "edge", **more: Any) -> dict[str, Any]:
    return {"name": name, "tier": tier, "attach": True, "clearance": "secret", **more}


def known(name: str, **more: Any) -> dict[str, Any]:
    """Return the entry of a node that proves who it is."""
    return entry(name, tls={"identity": f"{name}.shop.example"}, **more)


def listeners(process: int) -> set[int]:
    """Return the TCP ports that a process listens on."""
    held = {os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    listening = "0A"
    return {
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if row[3] == listening and f"socket:[{row[9]}]" in held
    }


async def attached(start: "Start", tier: Any, *flags: str, **more: Any) -> "Daemon":
    """Start a daemon that opens no port, and wait until it is ready."""
    return await asyncio.to_thread(start, tier, *flags, port=None, **more)


def ready(orchestrator: Orchestrator, name: str = "edge-7") -> Callable[[], bool]:
    return lambda: not orchestrator.problems[name]


async def ended(daemon: "Daemon") -> int:
    return await asyncio.to_thread(daemon.wait)


async def test_a_node_that_opens_no_port_serves_calls_of_all_kinds(
    start: "Start", shop: ModuleType, issue: Issue, until: "Until"
) -> None:
    hub = Hub(issue("127.0.0.1"))
    async with Orchestrator(hub.settings(known("edge-7")), app="shop") as orchestrator:
        assert "edge-7 is not attached to 127.0.0.1" in orchestrator.problems["edge-7"]
        edge = await attached(start, "edge", *hub.flags, *flags_of(issue("edge-7.shop.example")))
        assert listeners(edge.process.pid) == {edge.metrics_port}
        await until(ready(orchestrator))
        result = await shop.add.aio.call(1, 2)
        assert (result.value, result.node) == (3, "edge-7")
        assert [tick async for tick in shop.ticks(5, 0.0)] == list(range(5))
        numbers = await shop.grow.aio(4_000_000)
        assert numbers.nbytes == 16_000_000
        assert await shop.redact.aio(Sensitive("Ada")) == "***"
        assert await asyncio.gather(*(shop.add.aio(n, 1) for n in range(200))) == [*range(1, 201)]
        with pytest.raises(CallError, match="ValueError"):
            await shop.fail.aio("x")


async def test_a_node_that_was_there_first_attaches_when_its_orchestrator_comes(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    hub = Hub()
    edge = await attached(start, "edge", *hub.flags, "--name", "edge-7")
    said = "is not attached: no connection to 127.0.0.1"
    await until(lambda: said in edge.output)
    async with Orchestrator(hub.settings(entry()), app="shop") as orchestrator:
        await until(ready(orchestrator))
        assert (await shop.add.aio.call(1, 2)).node == "edge-7"


async def test_a_node_comes_back_to_an_orchestrator_that_was_restarted(
    start: "Start", shop: ModuleType, issue: Issue, until: "Until"
) -> None:
    hub = Hub(issue("127.0.0.1"))
    edge = await attached(start, "edge", *hub.flags, *flags_of(issue("edge-7.shop.example")))
    for _ in range(3):
        async with Orchestrator(hub.settings(known("edge-7")), app="shop") as orchestrator:
            await until(ready(orchestrator))
            assert (await shop.bake.aio(0.0)) == edge.process.pid
    assert edge.output.count(f"is attached to 127.0.0.1:{hub.port}") == 3


async def test_a_node_that_was_killed_and_started_again_is_taken_back(
    start: "Start", shop: ModuleType, issue: Issue, until: "Until"
) -> None:
    hub = Hub(issue("127.0.0.1"))
    flags = [*hub.flags, *flags_of(issue("edge-7.shop.example"))]
    async with Orchestrator(hub.settings(known("edge-7")), app="shop") as orchestrator:
        for _ in range(2):
            edge = await attached(start, "edge", *flags)
            await until(ready(orchestrator))
            assert (await shop.bake.aio(0.0)) == edge.process.pid
            edge.kill()
            await until(lambda: orchestrator.problems["edge-7"], "notice", 5)


async def in_flight(
    service: Any, count: int, node: "Daemon", until: "Until", seconds: float = 0.5
) -> list[Any]:
    """Kill a node while it has so many calls, and return what became of them."""
    tasks = [asyncio.create_task(service.aio.call(seconds)) for _ in range(count)]
    await until(lambda: node.metric("isthmus_requests_in_progress") == count)
    node.kill()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_inside_a_node_that_is_killed_go_elsewhere_or_say_that_nobody_knows(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    edge, hub = await asyncio.to_thread(start, "edge"), Hub()
    entries = entry("cloud-7", "cloud"), edge.entry()
    async with Orchestrator(hub.settings(*entries), app="shop") as orchestrator:
        flags = [*hub.flags, "--name", "cloud-7"]
        cloud = await attached(start, "cloud", *flags)
        await until(ready(orchestrator, "cloud-7"))
        moved = await in_flight(shop.forecast, 8, cloud, until)
        assert [result.attempts for result in moved] == [("cloud-7", "edge-1")] * 8
        cloud = await attached(start, "cloud", *flags)
        await until(ready(orchestrator, "cloud-7"))
        assert (await shop.charge.aio.call(0.0)).node == "cloud-7"
        lost = await in_flight(shop.charge, 8, cloud, until)
        assert {type(outcome) for outcome in lost} == {OutcomeUnknown}


async def test_a_frozen_node_is_left_alone_within_seconds_and_taken_back_when_it_thaws(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    edge, hub = await asyncio.to_thread(start, "edge"), Hub()
    entries = entry("cloud-7", "cloud"), edge.entry()
    async with Orchestrator(hub.settings(*entries), app="shop") as orchestrator:
        cloud = await attached(start, "cloud", *hub.flags, "--name", "cloud-7")
        await until(ready(orchestrator, "cloud-7"))
        inside = asyncio.create_task(shop.think.call(1.0))
        await until(lambda: cloud.metric("isthmus_requests_in_progress") == 1)
        cloud.signal(signal.SIGSTOP)
        await until(lambda: orchestrator.problems["cloud-7"], "ejection", 8)
        assert (await shop.charge.aio.call(0.0)).attempts == ("edge-1",)
        assert (await asyncio.wait_for(inside, 15)).attempts == ("cloud-7", "edge-1")
        cloud.signal(signal.SIGCONT)
        await until(ready(orchestrator, "cloud-7"), "return", 20)
        assert (await shop.charge.aio.call(0.0)).node == "cloud-7"


async def test_a_node_frozen_for_long_loses_its_connection_and_attaches_anew(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    hub = Hub()
    async with Orchestrator(hub.settings(entry()), app="shop") as orchestrator:
        edge = await attached(start, "edge", *hub.flags, "--name", "edge-7")
        await until(ready(orchestrator))
        edge.signal(signal.SIGSTOP)
        await until(lambda: "is not attached" in orchestrator.problems["edge-7"], "end", 40)
        edge.signal(signal.SIGCONT)
        await until(ready(orchestrator), "return", 20)
        assert (await shop.bake.aio(0.0)) == edge.process.pid


ORCHESTRATOR = """
import asyncio, json, sys
import shop
from orchestrator import Orchestrator

async def main():
    async with Orchestrator(json.loads(sys.argv[1]), app="shop"):
        think = shop.think.options(deadline="60s").aio
        await asyncio.gather(*(think(60.0) for _ in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_node_whose_orchestrator_dies_or_hangs_drops_its_calls_and_serves_the_next_one(
    start: "Start", shop: ModuleType, until: "Until", number: signal.Signals
) -> None:
    hub = Hub()
    edge = await attached(start, "edge", *hub.flags, "--name", "edge-7")
    told = json.dumps(hub.settings(entry()))
    command = [sys.executable, "-c", ORCHESTRATOR, told]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(APPS)}) as process:
        await until(lambda: edge.metric("isthmus_requests_in_progress") == 4)
        process.send_signal(number)
        await until(lambda: not edge.metric("isthmus_requests_in_progress"), "end", 40)
        process.kill()
    async with Orchestrator(hub.settings(entry()), app="shop") as orchestrator:
        await until(ready(orchestrator))
        assert await shop.bake.aio(0.0) == edge.process.pid


async def test_no_call_fails_when_an_attached_node_is_told_to_end_under_load(
    start: "Start", shop: ModuleType, issue: Issue, until: "Until"
) -> None:
    edge, hub = await asyncio.to_thread(start, "edge"), Hub(issue("127.0.0.1"))
    told, nodes, over = asyncio.Event(), [], False

    async def work() -> None:
        while not over:
            result = await shop.charge.aio.call(0.005)
            nodes.append((result.node, told.is_set()))

    entries = known("cloud-7", tier="cloud"), edge.entry()
    async with Orchestrator(hub.settings(*entries), app="shop") as orchestrator:
        flags = flags_of(issue("cloud-7.shop.example"))
        cloud = await attached(start, "cloud", *hub.flags, *flags)
        await until(ready(orchestrator, "cloud-7"))
        workers = [asyncio.create_task(work()) for _ in range(8)]
        long = asyncio.create_task(shop.charge.aio.call(2.0))
        await asyncio.sleep(0.5)
        cloud.signal(signal.SIGTERM)
        told.set()
        await until(lambda: orchestrator.problems["cloud-7"] == "it is draining")
        assert await ended(cloud) == 0
        over = True
        await asyncio.gather(*workers)  # charge is not idempotent: any loss would show here
        assert (await long).node == "cloud-7"
    assert ("cloud-7", False) in nodes
    assert ("edge-1", True) in nodes
    assert "Traceback" not in cloud.output


async def test_an_idle_attached_node_ends_with_0_whether_anybody_listens_or_not(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    hub = Hub()
    lonely = await attached(start, "edge", "--attach", f"127.0.0.1:{free_port()}")
    async with Orchestrator(hub.settings(entry()), app="shop") as orchestrator:
        edge = await attached(start, "edge", *hub.flags, "--name", "edge-7")
        await until(ready(orchestrator))
        for node in (lonely, edge):
            node.signal(signal.SIGTERM)
            assert await ended(node) == 0
            assert "Traceback" not in node.output


async def refusals(
    start: "Start", orchestrator: Orchestrator, flags: list[str], said: str
) -> "Daemon":
    """Start a node that is to be refused, and wait until it says why."""
    node = await attached(start, "edge", *flags)
    await asyncio.to_thread(node.wait_for, lambda: said in node.output, f"word of {said!r}")
    await asyncio.sleep(1.0)  # it tries again meanwhile
    assert orchestrator.problems["edge-7"]
    return node


async def test_who_cannot_prove_to_be_a_node_of_the_settings_gets_no_call(
    start: "Start", shop: ModuleType, issue: Issue, until: "Until", caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(issue("127.0.0.1"))
    stranger = issue("edge-7.shop.example", by="strangers")
    trusting = TlsFiles(issue("127.0.0.1").ca, stranger.cert, stranger.key)
    other = issue("edge-8.shop.example")
    # A common name counts for nothing.
    disguised = issue("edge-9.shop.example", common_name="edge-7.shop.example")
    async with Orchestrator(hub.settings(known("edge-7")), app=[shop.redact]) as orchestrator:
        for files, said in (
            (stranger, "no connection to"),
            (trusting, "127.0.0.1"),
            (other, "no attached node of its settings has that identity"),
            (disguised, "no attached node of its settings has that identity"),
        ):
            flags = [*hub.flags, *flags_of(files), "--name", "edge-7"]
            node = await refusals(start, orchestrator, flags, said)
            with pytest.raises(NoRoute):
                await shop.redact.aio(Sensitive("Ada"))
            assert "is attached to" not in node.output
        plain = [*hub.flags, "--name", "edge-7"]
        await refusals(start, orchestrator, plain, "no connection to")
        # The control: the same settings take the node that is who it should be.
        right = flags_of(issue("edge-7.shop.example"))
        await attached(start, "edge", *hub.flags, *right, "--name", "whatever")
        await until(ready(orchestrator))
        assert await shop.redact.aio(Sensitive("Ada")) == "***"
    refused = re.findall(r"a node that is '([^']+)' wants to attach", caplog.text)
    assert refused == ["edge-8.shop.example", "edge-9.shop.example"]  # once each, for all attempts


async def test_a_node_does_not_attach_to_an_orchestrator_it_does_not_trust(
    start: "Start", shop: ModuleType, issue: Issue
) -> None:
    impostor = issue("127.0.0.1", by="strangers")
    hub = Hub(TlsFiles(issue("127.0.0.1").ca, impostor.cert, impostor.key))
    async with Orchestrator(hub.settings(known("edge-7")), app=[shop.add]) as orchestrator:
        flags = [*hub.flags, *flags_of(issue("edge-7.shop.example"))]
        await refusals(start, orchestrator, flags, "This side uses TLS")


async def test_the_clearance_of_the_settings_binds_whatever_a_node_says(
    start: "Start", shop: ModuleType, issue: Issue, until: "Until"
) -> None:
    hub = Hub(issue("127.0.0.1"))
    flags = [*hub.flags, *flags_of(issue("edge-7.shop.example")), "--clearance", "secret"]
    edge = await attached(start, "edge", *flags)
    seen = 'isthmus_requests_total{code="OK",service="weigh"}'
    for clearance, passes in (("internal", False), ("secret", True)):
        node = known("edge-7", clearance=clearance)
        async with Orchestrator(hub.settings(node), app=[shop.weigh]) as orchestrator:
            await until(ready(orchestrator))
            before = edge.metric(seen)
            if passes:  # the positive control
                assert (await shop.weigh.aio.call(Sensitive("Ada"))).node == "edge-7"
                assert edge.metric(seen) == before + 1
            else:
                with pytest.raises(PrivacyRefused, match="clearance internal"):
                    await shop.weigh.aio(Sensitive("Ada"))
                assert edge.metric(seen) == before
                await shop.weigh.aio(Internal("Ada"))


async def test_in_plaintext_on_an_address_of_others_a_node_gets_public_data_only(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    for host, allowed in (("0.0.0.0", False), ("127.0.0.1", True)):
        hub = Hub(host=host)
        edge = await attached(start, "edge", *hub.flags, "--name", "edge-7")
        async with Orchestrator(hub.settings(entry()), app=[shop.add]) as orchestrator:
            await until(ready(orchestrator))
            assert await shop.add.aio(1, 2) == 3
            if allowed:
                assert (await shop.weigh.aio.call(Sensitive("Ada"))).node == "edge-7"
            else:
                with pytest.raises(PrivacyRefused, match="clearance public"):
                    await shop.weigh.aio(Sensitive("Ada"))
        edge.kill()


async def test_the_newest_of_two_nodes_with_one_identity_wins_and_stays(
    start: "Start", shop: ModuleType, until: "Until", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hub = Hub()
    async with Orchestrator(hub.settings(entry()), app="shop") as orchestrator:
        for _ in range(2):
            node = await attached(start, "edge", *hub.flags, "--name", "edge-7")
            await until(lambda node=node: "is attached to" in node.output)  # type: ignore[misc]
            await until(ready(orchestrator))
            assert await shop.bake.aio(0.0) == node.process.pid
        await asyncio.sleep(3)
        assert await shop.bake.aio(0.0) == node.process.pid
    assert caplog.text.count("edge-7 attached again: its older stream ends") == 1


async def test_a_node_may_listen_and_attach_to_several_orchestrators_at_once(
    start: "Start", shop: ModuleType, until: "Until"
) -> None:
    one, two = Hub(), Hub()
    flags = [*one.flags, *two.flags, "--name", "edge-7"]
    edge = await asyncio.to_thread(start, "edge", *flags)
    dialled = Orchestrator({"nodes": [edge.entry()]}, app="shop")
    for made in (
        Orchestrator(one.settings(entry()), app="shop"),
        Orchestrator(two.settings(entry()), app="shop"),
        dialled,
    ):
        async with made as orchestrator:
            name = next(iter(orchestrator.problems))
            await until(ready(orchestrator, name))
            assert await shop.bake.aio(0.0) == edge.process.pid


async def test_a_node_attaches_over_a_unix_socket(
    start: "Start", shop: ModuleType, tmp_path: Path, until: "Until"
) -> None:
    address = f"unix:{tmp_path}/hub.sock"
    (tmp_path / "node.yaml").write_text(f"attach: [{address!r}]\nname: edge-7\n")
    edge = await attached(start, "edge", "--config", str(tmp_path / "node.yaml"))
    settings = {"listen": {"address": address, "insecure": True}, "nodes": [entry()]}
    async with Orchestrator(settings, app="shop") as orchestrator:
        await until(ready(orchestrator))
        assert (await shop.weigh.aio.call(Sensitive("Ada"))).node == "edge-7"
        assert listeners(edge.process.pid) == {edge.metrics_port}


async def test_an_operator_sees_the_nodes_that_have_attached_and_those_that_have_not(
    start: "Start", shop: ModuleType, issue: Issue, run: "Run", tmp_path: Path, until: "Until"
) -> None:
    hub = Hub(issue("127.0.0.1"))
    settings = hub.settings(known("edge-7"), known("edge-8"))
    (tmp_path / "isthmus.yaml").write_text(json.dumps(settings, default=str))

    async def rows(file: str = "isthmus.yaml") -> list[dict[str, Any]]:
        command = ("nodes", "--json", "-c", file)
        told = await asyncio.to_thread(run, *command, folder=tmp_path)
        assert told.returncode == 1, told.stderr
        found: list[dict[str, Any]] = json.loads(told.stdout)
        return found

    for row in await rows():
        assert "only its orchestrator knows: no connection to" in row["problem"]
    async with Orchestrator(settings, app="shop") as orchestrator:
        flags = flags_of(issue("edge-7.shop.example"))
        await attached(start, "edge", *hub.flags, *flags)
        await until(ready(orchestrator))
        there, missing = await rows()
        assert (there["name"], there["state"], there["problem"]) == ("edge-7", "ready", "")
        assert "add" in there["services"]
        assert there["address"] == f"attaches to 127.0.0.1:{hub.port}"
        assert "it is not attached" in missing["problem"]
        # A node has a certificate of the same authority, and may not ask for all that.
        node = issue("edge-7.shop.example")
        tls = {"ca": node.ca, "cert": node.cert, "key": node.key}
        nosy = {**settings, "listen": {**hub.listen, "tls": tls}}
        (tmp_path / "nosy.yaml").write_text(json.dumps(nosy, default=str))
        for row in await rows("nosy.yaml"):
            assert "may not do this" in row["problem"] or "CA" in row["problem"]
            assert row["services"] == []


def test_two_orchestrators_on_one_address_end_with_a_clear_error(shop: ModuleType) -> None:
    hub = Hub()
    with Orchestrator(hub.settings(entry()), app=[shop.add]):
        with pytest.raises(SettingsError, match="does another orchestrator"):
            with Orchestrator(hub.settings(entry()), app=[shop.add]):
                pass
