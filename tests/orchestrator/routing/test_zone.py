import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.zone import INTERVAL, Zone, resolve

MakeEndpoint = Callable[..., Endpoint]
Fast = Callable[[Coroutine[Any, Any, Any]], Any]


class Records:
    """A zone's DNS records, as the test says."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = set(addresses)
        self.failure: Exception | None = None
        self.asked: list[str] = []

    async def look_up(self, zone: str) -> set[str]:
        self.asked.append(zone)
        if self.failure:
            raise self.failure
        return set(self.addresses)


@asynccontextmanager
async def zone_of(
    records: Records, make_endpoint: MakeEndpoint
) -> AsyncIterator[tuple[Zone, Directory]]:
    directory = Directory(random.Random(7))

    def connect(address: str) -> Endpoint:
        return make_endpoint(f"cloud/{address}", "cloud")

    yield Zone("cloud.example:50052", directory, connect, records.look_up), directory
    await directory.aclose()


def names(directory: Directory) -> list[str]:
    return sorted(endpoint.name for endpoint in directory.endpoints)


async def test_every_record_becomes_an_endpoint(make_endpoint: MakeEndpoint) -> None:
    records = Records("10.0.0.1:50052", "10.0.0.2:50052")
    async with zone_of(records, make_endpoint) as (zone, directory):
        await zone.refresh()
        assert names(directory) == ["cloud/10.0.0.1:50052", "cloud/10.0.0.2:50052"]
    assert records.asked == ["cloud.example:50052"]


async def test_nodes_that_left_the_zone_are_dropped_and_those_that_stay_are_kept(
    make_endpoint: MakeEndpoint,
) -> None:
    records = Records("a:1", "b:1")
    async with zone_of(records, make_endpoint) as (zone, directory):
        await zone.refresh()
        stays, gone = directory.find("cloud/b:1"), directory.find("cloud/a:1")
        records.addresses = {"b:1", "c:1"}
        await zone.refresh()
        assert names(directory) == ["cloud/b:1", "cloud/c:1"]
        assert directory.find("cloud/b:1") is stays
        assert gone
        assert gone.channel.closed  # type: ignore[attr-defined]


async def test_a_name_that_cannot_be_looked_up_for_a_while_changes_nothing(
    make_endpoint: MakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    records = Records("a:1")
    async with zone_of(records, make_endpoint) as (zone, directory):
        await zone.refresh()
        records.failure = socket.gaierror("temporary failure in name resolution")
        with caplog.at_level(logging.WARNING, "isthmus.caller"):
            await zone.refresh()
        assert names(directory) == ["cloud/a:1"]
    assert "zone cloud.example:50052 cannot be looked up" in caplog.text


def test_it_is_looked_up_again_and_again(fast: Fast, make_endpoint: MakeEndpoint) -> None:
    async def follow() -> None:
        records = Records()
        async with zone_of(records, make_endpoint) as (zone, directory):
            following = asyncio.create_task(zone.follow())
            records.addresses = {"a:1"}
            await asyncio.sleep(1.5 * INTERVAL)
            assert names(directory) == ["cloud/a:1"]
            records.failure = socket.gaierror("down")
            await asyncio.sleep(2 * INTERVAL)
            records.failure, records.addresses = None, {"b:1"}
            await asyncio.sleep(INTERVAL)
            assert names(directory) == ["cloud/b:1"]
            following.cancel()

    fast(follow())


async def test_a_name_of_this_machine_resolves_to_loopback() -> None:
    assert await resolve("localhost:50052") & {"127.0.0.1:50052", "[::1]:50052"}


@pytest.mark.parametrize("address", ["127.0.0.1:50052", "[::1]:50052"])
async def test_an_address_stands_for_itself(address: str) -> None:
    assert await resolve(address) == {address}


async def test_a_name_that_no_dns_can_hold_is_a_failed_look_up(
    make_endpoint: MakeEndpoint,
) -> None:
    directory = Directory(random.Random(7))
    await Zone(f"{'x' * 64}.example:1", directory, lambda _: make_endpoint()).refresh()
