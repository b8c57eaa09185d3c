"""Daemons beside each other, seen by an operator and by an orchestrator made of addresses."""

import json
import signal
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from orchestrator import EdgeCloudOrchestrator, Sensitive
from orchestrator.core.errors import PrivacyRefused

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Run, Start

Pair = tuple["Daemon", "Daemon"]


@pytest.fixture(scope="module")
def pair(start_shared: "Start") -> Pair:
    return start_shared("edge"), start_shared("cloud")


def test_a_second_daemon_on_a_port_ends_with_a_clear_error(pair: Pair, start: "Start") -> None:
    edge, _ = pair
    second = start("cloud", port=edge.port, ready=False)
    assert second.wait() == 2
    assert f"error: cannot listen on 127.0.0.1:{edge.port}: is the port taken?" in second.output
    assert "Traceback" not in second.output
    assert edge.health == "SERVING"


def test_a_second_operators_page_on_a_port_ends_with_a_clear_error(
    pair: Pair, start: "Start"
) -> None:
    edge, _ = pair
    second = start("cloud", "--metrics-port", str(edge.metrics_port), ready=False)
    assert second.wait() == 2
    assert "error: " in second.output
    assert str(edge.metrics_port) in second.output
    assert "Traceback" not in second.output


async def test_addresses_alone_make_an_orchestrator_for_public_data(
    pair: Pair, shop: ModuleType
) -> None:
    edge, cloud = pair
    both = EdgeCloudOrchestrator(
        edge_nodes=[edge.address],
        cloud_zone=cloud.address,
        insecure=True,
        app=[shop.add, shop.charge],
    )
    async with both as orchestrator:
        assert set(orchestrator.problems.values()) == {""}
        assert (await shop.add.options(tier="edge").aio.call(1, 2)).node == "edge-1"
        assert (await shop.charge.aio.call(0.0)).tier == "cloud"
        with pytest.raises(PrivacyRefused):
            await shop.weigh.aio(Sensitive("Ada"))


async def test_addresses_with_a_clearance_take_private_data(pair: Pair, shop: ModuleType) -> None:
    edge, _ = pair
    cleared = {"address": edge.address, "clearance": "secret", "insecure": True}
    both = EdgeCloudOrchestrator(edge_nodes=[cleared], app="shop")
    async with both:
        assert (await shop.weigh.aio.call(Sensitive("Ada"))).node == "edge-1"


async def test_plaintext_to_an_address_beyond_this_machine_carries_public_data_only(
    start: "Start", shop: ModuleType
) -> None:
    everywhere = start("edge", "--host", "0.0.0.0", "--insecure")
    for address, allowed in ((everywhere.address, True), (f"0.0.0.0:{everywhere.port}", False)):
        node = everywhere.entry(address=address)
        async with EdgeCloudOrchestrator(edge_nodes=[node], app=[shop.add]):
            assert (await shop.add.aio.call(1, 2)).value == 3
            if allowed:
                assert (await shop.weigh.aio.call(Sensitive("Ada"))).node == "edge-1"
            else:
                with pytest.raises(PrivacyRefused, match="clearance public"):
                    await shop.weigh.aio(Sensitive("Ada"))


def test_an_operator_sees_every_node_with_what_it_serves_and_how_well_it_is(
    pair: Pair, run: "Run", tmp_path: Path
) -> None:
    nodes = {"nodes": [node.entry() for node in pair]}
    (tmp_path / "isthmus.yaml").write_text(json.dumps(nodes))  # JSON is YAML
    ended = run("nodes", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for words in ("edge-1", "cloud-1", "ready", "secret", "internal", "archive", "redact"):
        assert words in ended.stdout
    rows = json.loads(run("nodes", "--json", folder=tmp_path).stdout)
    assert [(row["name"], row["state"], row["problem"]) for row in rows] == [
        ("edge-1", "ready", ""),
        ("cloud-1", "ready", ""),
    ]
    assert "archive" in rows[1]["services"]
    assert "archive" not in rows[0]["services"]
    assert all(row["round_trip_ms"] > 0 for row in rows)


def test_an_operator_hears_of_a_node_that_ends_and_of_one_that_is_gone(
    pair: Pair, start: "Start", run: "Run", tmp_path: Path
) -> None:
    (tmp_path / "node.yaml").write_text("lame_duck_seconds: 30\n")
    ending = start("edge", "--config", str(tmp_path / "node.yaml"))
    gone = start("edge")
    entries = [pair[1].entry(), ending.entry(name="ending"), gone.entry(name="gone")]
    (tmp_path / "isthmus.yaml").write_text(json.dumps({"nodes": entries}))
    ending.signal(signal.SIGTERM)
    ending.wait_for(lambda: ending.health == "NOT_SERVING", "goodbye")
    gone.kill()
    ended = run("nodes", "--json", folder=tmp_path)
    assert ended.returncode == 1
    states = {row["name"]: row["state"] for row in json.loads(ended.stdout)}
    assert states == {"cloud-1": "ready", "ending": "draining", "gone": "unreachable"}
