"""Starting the bare servers, each with its client."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

from orchestrator.bench.clients.bare import BareClient, GatheringClient
from orchestrator.bench.clients.session import SessionClient
from orchestrator.bench.parties import Ability, Opening, Party
from orchestrator.bench.processes import running
from orchestrator.core.ports import free_port

AIO, SYNC = "bare grpc.aio", "bare grpc sync"
GATHERING, SESSION = "bare gathering stream", "isthmus session alone"

_ALL: frozenset[Ability] = frozenset({"echo", "tensor", "stream"})
_ECHO: frozenset[Ability] = frozenset({"echo"})

_SERVERS: dict[
    str, tuple[str, type[BareClient | GatheringClient | SessionClient], frozenset[Ability]]
] = {
    AIO: ("aio", BareClient, _ALL),
    SYNC: ("sync", BareClient, _ALL),
    GATHERING: ("stream", GatheringClient, _ECHO),
    SESSION: ("session", SessionClient, _ECHO),
}


def openings(ability: Ability) -> list[tuple[str, Opening]]:
    """Return how to start every bare transport that has an ability."""
    return [
        (name, partial(_started, name)) for name, found in _SERVERS.items() if ability in found[2]
    ]


@asynccontextmanager
async def _started(name: str) -> AsyncIterator[Party]:
    module, kind, can = _SERVERS[name]
    port = free_port()
    command = [sys.executable, "-m", f"orchestrator.bench.bare.{module}", str(port)]
    async with (
        aclosing(kind(f"127.0.0.1:{port}")) as client,
        running(command, client.ready) as server,
    ):
        yield Party(name, client, can, server)
