"""A zone: one DNS name whose records are the nodes; it is looked up again and again."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint

_log = logging.getLogger("isthmus.caller")

INTERVAL = 10.0
"""Seconds between two look-ups."""

Resolve = Callable[[str], Awaitable[set[str]]]
"""Turns "name:port" into the addresses behind it."""


async def resolve(zone: str) -> set[str]:
    """Return the addresses behind "name:port" as "host:port"."""
    host, _, port = zone.rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )
    hosts = {str(address[0]) for *_, address in found}
    return {f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in hosts}


class Zone:
    """Keeps the directory's endpoints of one zone as the DNS says.

    Args:
        zone: "name:port".
        directory: Where the endpoints are.
        connect: Makes the endpoint of an address.
        look_up: Turns the zone into addresses.
    """

    def __init__(
        self,
        zone: str,
        directory: Directory,
        connect: Callable[[str], Endpoint],
        look_up: Resolve = resolve,
    ) -> None:
        self._zone = zone
        self._directory = directory
        self._connect = connect
        self._look_up = look_up
        self._names: dict[str, str] = {}

    async def follow(self) -> None:
        """Look the zone up for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.refresh()

    async def refresh(self) -> None:
        """Look the zone up once; nodes that are gone are dropped, new ones added."""
        try:
            addresses = await self._look_up(self._zone)
        except (OSError, UnicodeError) as error:
            _log.warning("zone %s cannot be looked up: %s", self._zone, error)
            return
        for address in self._names.keys() - addresses:
            await self._directory.remove(self._names.pop(address))
        for address in sorted(addresses - self._names.keys()):
            endpoint = self._connect(address)
            self._names[address] = endpoint.name
            self._directory.add(endpoint)
