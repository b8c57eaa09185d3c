import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Sensitive, cloud_service, edge_service
from orchestrator.assembly import Assembled, assemble
from orchestrator.core.apps import declarations_of
from orchestrator.core.call import Call
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import NoRoute, SettingsError
from orchestrator.serving.attach import Attachment, Place
from orchestrator.serving.local import LocalCaller
from orchestrator.settings.caller import Settings
from orchestrator.testing import ManualClock, free_port, listening, running_node
from policies.facts import PUBLIC, Label, Level


@edge_service
def nearby(text: str) -> str:
    return text.upper()


@cloud_service
def faraway(text: str) -> str:
    return text.lower()


@cloud_service(privacy="pseudonymise")
def confide(text: Sensitive[str]) -> Sensitive[tuple[str, bool]]:
    return text.with_value((text.value, text.value.startswith("NAME_")))


@asynccontextmanager
async def assembled(settings: dict[str, Any], *services: Any) -> AsyncIterator[Assembled]:
    """Build the caller's side around a node that takes the calls of bodies."""
    async with running_node("edge") as node:
        caller = LocalCaller(node)
        made = Settings.model_validate(settings)
        declarations = list(declarations_of(services))
        source = random.Random(0)
        async with assemble(made, declarations, caller, [], ManualClock(), source) as side:
            yield side


async def test_without_nodes_an_edge_and_a_cloud_are_embedded(tmp_path: Path) -> None:
    store = {"models": {"store": str(tmp_path)}}
    async with assembled(store, nearby, faraway) as side:
        assert [node.name for node in side.nodes] == ["edge", "cloud"]
        assert [node.state for node in side.nodes] == ["ready", "ready"]
        served = {node.tier: node.registry.reports for node in side.nodes}
        assert {tier: [r.name for r in reports] for tier, reports in served.items()} == {
            "edge": ["nearby"],
            "cloud": ["faraway"],
        }


async def test_a_service_that_comes_later_is_served_once_it_is_prepared(tmp_path: Path) -> None:
    store = {"models": {"store": str(tmp_path)}}
    async with assembled(store) as side:
        (declaration,) = declarations_of([nearby])
        await side.prepare(declaration)
        edge = side.directory.find("edge")
        assert edge is not None
        assert edge.facts("nearby").version == nearby.spec.version


async def test_nodes_of_the_settings_stand_in_the_directory_and_none_is_embedded() -> None:
    async with running_node("edge", nearby) as node, listening(node) as address:
        entry = {"name": "here", "tier": "edge", "address": address, "insecure": True}
        async with assembled({"nodes": [entry]}, nearby) as side:
            assert side.nodes == []
            assert [endpoint.name for endpoint in side.directory.endpoints] == ["here"]
            assert side.directory.endpoints[0].problem == ""


async def test_a_node_that_is_not_there_does_not_keep_the_rest_from_starting() -> None:
    entry = {"name": "gone", "tier": "edge", "address": f"127.0.0.1:{free_port()}"}
    async with assembled({"nodes": [entry]}, nearby) as side:
        assert side.directory.endpoints[0].problem


async def test_a_rule_that_nobody_knows_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="policies: .*thrift"):
        async with assembled({"policies": {"scorers": ["thrift"]}}):
            pass


async def test_a_tier_without_nodes_is_named_with_the_cure() -> None:
    async with running_node("edge", nearby) as node, listening(node) as address:
        entry = {"name": "here", "tier": "edge", "address": address, "insecure": True}
        async with assembled({"nodes": [entry]}, faraway) as side:
            spec, clock = faraway.spec, ManualClock()
            deadline = Deadline.after(5.0, clock)
            call = Call(
                "0" * 16, "0" * 32, spec.name, spec.version, {"text": "A"}, PUBLIC, deadline,
                spec.placement,
            )  # fmt: skip
            with pytest.raises(NoRoute, match="the settings name no cloud node"):
                await side.way(call)


async def test_nodes_that_attach_stand_in_the_directory_before_they_have(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    node = {"name": "shop-7", "tier": "edge", "attach": True}
    settings = {"listen": {"address": address, "insecure": True}, "nodes": [node]}
    async with assembled(settings, nearby) as side:
        endpoint = side.directory.find("shop-7")
        assert endpoint is not None
        assert "shop-7 is not attached" in endpoint.problem
        async with running_node("edge", nearby, name="shop-7") as there:
            attachment = Attachment(there, Place(address), random.Random(0))
            attachment.start()
            async with asyncio.timeout(20):
                while endpoint.problem:
                    await asyncio.sleep(0.01)
            spec = nearby.spec
            call = Call(
                "0" * 16, "0" * 32, spec.name, spec.version, {"text": "a"}, PUBLIC,
                Deadline.after(20.0), spec.placement,
            )  # fmt: skip
            result = await side.way(call)
            assert (result.value, result.node) == ("A", "shop-7")
            await attachment.stop(1.0)
    # The address is free again.
    async with assembled(settings, nearby):
        pass


async def test_an_address_that_is_taken_ends_the_opening_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    settings = {"listen": {"address": f"127.0.0.1:{free_port()}", "insecure": True}}
    before = len(asyncio.all_tasks())
    async with assembled(settings | {"models": {"store": str(tmp_path)}}):
        with pytest.raises(SettingsError, match="does another orchestrator listen there"):
            async with assembled(settings | {"models": {"store": str(tmp_path)}}):
                pass
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)


async def test_a_recogniser_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="privacy: no recogniser is called e-mail; there are"):
        async with assembled({"privacy": {"recognisers": ["e-mail"]}}):
            pass


async def test_the_values_of_a_users_own_words_become_pseudonyms(tmp_path: Path) -> None:
    told = {"models": {"store": str(tmp_path)}, "privacy": {"words": {"name": ["ada"]}}}
    async with assembled(told, confide) as side:
        spec, label = confide.spec, Label(Level.SENSITIVE)
        call = Call(
            id="0" * 16,
            trace="0" * 32,
            service=spec.name,
            version=spec.version,
            arguments={"text": Sensitive("Ada sat")},
            label=label,
            deadline=Deadline.after(5, ManualClock()),
            placement=spec.placement,
            privacy=spec.privacy,
        )
        await side.prepare(confide.declaration)
        result = await side.way(call)
    assert result.node == "cloud"
    assert result.value.reveal("a test") == ["Ada sat", True]
