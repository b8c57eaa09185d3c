import asyncio
import json
import os
from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING

import pytest

from orchestrator import edge_service
from orchestrator.commands.nodes import NodeRow, as_data, as_table, survey
from orchestrator.serving.attach import Attachment, Place
from orchestrator.serving.node import Node
from orchestrator.testing import free_port, listening, running_node
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode

if TYPE_CHECKING:
    from tests.orchestrator.commands.conftest import Rendered, Write


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    @edge_service(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    async with running_node("edge", add, name="kitchen") as node:
        yield node


def entry(address: str, tier: str = "edge", clearance: str = "internal") -> str:
    kept = f'name: a, tier: {tier}, address: "{address}", clearance: {clearance}'
    return f"nodes: [{{{kept}, insecure: true}}]"


async def test_a_node_that_answers_is_shown_with_what_it_serves(node: Node, write: "Write") -> None:
    async with listening(node) as address:
        (row,) = await survey(write(entry(address)))
    assert (row.name, row.tier, row.address, row.state) == ("a", "edge", address, "ready")
    assert row.services == ("add",)
    assert row.round_trip_ms > 0
    assert row.ready
    assert row.problem == ""


async def test_the_clearance_is_the_lower_of_both_sides(node: Node, write: "Write") -> None:
    async with listening(node) as address:
        (lower,) = await survey(write(entry(address, clearance="internal")))
        (higher,) = await survey(write(entry(address, clearance="secret")))
    assert (lower.clearance, higher.clearance) == ("internal", "secret")


async def test_a_node_that_is_not_there_is_a_row_with_address_and_cure(write: "Write") -> None:
    (row,) = await survey(write(entry("127.0.0.1:1")))
    assert (row.state, row.ready) == ("unreachable", False)
    assert "no connection to 127.0.0.1:1: is the node running there" in row.problem


async def test_a_node_that_drains_is_there_and_not_ready(node: Node, write: "Write") -> None:
    await node.become("draining")
    async with listening(node) as address:
        (row,) = await survey(write(entry(address)))
    assert (row.state, row.ready) == ("draining", False)


async def test_a_node_of_another_tier_than_the_settings_say_is_not_ready(
    node: Node, write: "Write"
) -> None:
    async with listening(node) as address:
        (row,) = await survey(write(entry(address, tier="cloud")))
    assert not row.ready
    assert "correct its tier in the settings" in row.problem


async def test_one_missing_node_does_not_hide_the_others(node: Node, write: "Write") -> None:
    missing = '{name: b, tier: cloud, address: "127.0.0.1:1", insecure: true}'
    async with listening(node) as address:
        both = entry(address).removesuffix("]") + f", {missing}]"
        rows = await survey(write(both))
    assert [(row.name, row.ready) for row in rows] == [("a", True), ("b", False)]


async def test_a_zone_is_a_row_for_each_of_its_addresses(node: Node, write: "Write") -> None:
    async with listening(node) as address:
        port = address.rpartition(":")[2]
        zone = f'{{name: z, tier: edge, zone: "127.0.0.1:{port}", insecure: true}}'
        (row,) = await survey(write(f"nodes: [{zone}]"))
    assert (row.name, row.address, row.state) == ("z", address, "ready")


async def test_a_zone_that_no_dns_knows_is_an_unreachable_row(write: "Write") -> None:
    zone = '{name: z, tier: edge, zone: "nowhere.invalid:1", insecure: true}'
    (row,) = await survey(write(f"nodes: [{zone}]"))
    assert row.state == "unreachable"
    assert "nowhere.invalid:1" in row.problem


async def test_nothing_is_left_open_after_the_survey(node: Node, write: "Write") -> None:
    path = write(entry("127.0.0.1:1"))
    await survey(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        async with listening(node) as address:
            await survey(write(entry(address)))
    assert len(os.listdir("/proc/self/fd")) <= before + 3


async def test_data_and_table_tell_the_same(
    node: Node, write: "Write", rendered: "Rendered"
) -> None:
    async with listening(node) as address:
        rows = await survey(write(entry(address)))
    (row,) = json.loads(json.dumps(as_data(rows)))
    text = rendered(as_table(rows))
    assert row["services"] == ["add"]
    assert all(row[key] in text for key in ("name", "tier", "address", "state", "clearance"))
    assert "add" in text


async def test_why_a_node_is_missing_stands_in_the_table(
    write: "Write", rendered: "Rendered"
) -> None:
    rows = await survey(write(entry("127.0.0.1:1")))
    assert "is the node running there" in rendered(as_table(rows))


async def test_why_a_ready_node_takes_no_calls_stands_in_the_table(
    node: Node, write: "Write", rendered: "Rendered"
) -> None:
    async with listening(node) as address:
        rows = await survey(write(entry(address, tier="cloud")))
    assert "correct its tier in the settings" in rendered(as_table(rows))


def test_what_a_strange_node_says_of_itself_does_not_break_the_table(
    rendered: "Rendered",
) -> None:
    row = NodeRow("a", "edge", "[::1]:1", "ready", "public", services=("[/]", "rank[fast]"))
    assert "rank[fast]" in rendered(as_table([row]))


ATTACHED = """
listen: {{address: "{address}", insecure: true}}
nodes:
  - {{name: first, tier: edge, address: "127.0.0.1:1", insecure: true}}
  - {{name: kitchen, tier: edge, attach: true, clearance: internal}}
  - {{name: cellar, tier: edge, attach: true}}
"""


async def test_nodes_that_attach_are_shown_as_their_orchestrator_sees_them(
    node: Node, write: "Write"
) -> None:
    address = f"127.0.0.1:{free_port()}"
    path = write(ATTACHED.format(address=address))
    first, *rows = await survey(path)
    assert first.name == "first"
    for row in rows:
        assert (row.state, row.address) == ("unreachable", f"attaches to {address}")
        assert f"only its orchestrator knows: no connection to {address}" in row.problem
    links = {name: AttachedNode(name, address) for name in ("kitchen", "cellar")}
    server, attachment = (
        AttachServer(address, None, links),
        Attachment(node, Place(address), Random(1)),
    )
    await server.start()
    attachment.start()
    async with asyncio.timeout(20):
        while not links["kitchen"].attached:
            await asyncio.sleep(0.01)
    _, kitchen, cellar = await survey(path)
    assert (kitchen.name, kitchen.state, kitchen.services) == ("kitchen", "ready", ("add",))
    assert (kitchen.clearance, kitchen.ready) == ("internal", True)
    assert (cellar.ready, cellar.problem) == (
        False,
        "it is not attached: is it running with --attach?",
    )
    await attachment.stop(1.0)
    await server.aclose()
