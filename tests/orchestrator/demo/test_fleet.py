import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import EndpointUnavailable
from orchestrator.demo.fleet import Fleet

APP = "orchestrator.demo.services"


@pytest.fixture
def fleet(tmp_path: Path, minilm_store: Path) -> Iterator[Fleet]:
    fleet = Fleet(minilm_store, tmp_path)
    try:
        yield fleet
    finally:
        fleet.stop()


async def test_a_fleet_knows_where_its_nodes_will_be_before_they_are_there(fleet: Fleet) -> None:
    edge, cloud = fleet.settings["nodes"]
    assert (edge["tier"], edge["clearance"]) == ("edge", "secret")
    assert (cloud["tier"], cloud["clearance"]) == ("cloud", "internal")
    assert edge["address"] != cloud["address"]


async def test_a_node_is_ready_killed_and_started_again_at_the_same_place(fleet: Fleet) -> None:
    fleet.start("edge")
    settings = {"nodes": fleet.settings["nodes"][:1]}
    async with Orchestrator(settings, app=()) as orchestrator:
        await fleet.ready("edge", orchestrator)
        fleet.kill("edge")
        fleet.start("edge")
        # The probe may not have noticed the death yet: wait for it first.
        while not orchestrator.problems["edge-1"]:
            await asyncio.sleep(0.01)
        await fleet.ready("edge", orchestrator)
        assert orchestrator.problems["edge-1"] == ""


async def test_a_node_that_ends_at_once_is_reported_with_where_its_words_are(
    tmp_path: Path,
) -> None:
    fleet = Fleet(tmp_path / "empty", tmp_path)
    fleet.start("edge")
    try:
        async with Orchestrator({"nodes": fleet.settings["nodes"][:1]}, app=()) as orchestrator:
            with pytest.raises(EndpointUnavailable, match=r"the edge node ended: .*edge\.log"):
                await fleet.ready("edge", orchestrator)
    finally:
        fleet.stop()
    assert "model 'minilm' is not in" in (tmp_path / "edge.log").read_text()
