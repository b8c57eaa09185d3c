"""The library as a user has it: a daemon with an app, and an orchestrator that is open."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from orchestrator.bench.parties import Ability, Floats, Party
from orchestrator.bench.processes import free_port, running
from orchestrator.client import Orchestrator
from orchestrator.core.context import calling_through

SERVICES = "orchestrator.bench.services"
EMBEDDING = "orchestrator.bench.embedding"

_CALLS: frozenset[Ability] = frozenset({"echo", "tensor", "stream"})


class LibraryClient:
    """Calls services through an orchestrator, with everything a call has switched on.

    Args:
        orchestrator: An open one.
        services: Service by what it is measured for.
    """

    def __init__(self, orchestrator: Orchestrator, services: dict[str, Any]) -> None:
        self._orchestrator = orchestrator
        self._services = services

    async def echo(self, text: str) -> str:
        """Send a text and return what came back."""
        with calling_through(self._orchestrator):
            return cast(str, await self._services["echo"](text))

    async def tensor(self, array: Floats) -> Floats:
        """Send an array and return what came back."""
        with calling_through(self._orchestrator):
            return cast(Floats, await self._services["tensor"](array))

    async def stream(self, count: int) -> AsyncIterator[str]:
        """Yield so many chunks."""
        with calling_through(self._orchestrator):
            chunks = self._services["stream"](count)
        async for chunk in chunks:
            yield chunk

    async def embed(self, text: str) -> Floats:
        """Return the vector of a text."""
        with calling_through(self._orchestrator):
            return cast(Floats, await self._services["embed"]([text]))


@asynccontextmanager
async def over_session(
    name: str = "isthmus, session", app: str = SERVICES, flags: Sequence[str] = ()
) -> AsyncIterator[Party]:
    """Run an edge node and an orchestrator that knows it, over TCP."""
    port = free_port()
    where = ["--port", str(port)]
    async with _opened(name, app, f"127.0.0.1:{port}", [*where, *flags]) as party:
        yield party


@asynccontextmanager
async def over_unix_socket(
    folder: Path, app: str = SERVICES, flags: Sequence[str] = ()
) -> AsyncIterator[Party]:
    """Run the same over a Unix socket, where a daemon can listen on one."""
    address = f"unix:{folder / 'node.sock'}"
    async with _opened("isthmus, Unix socket", app, address, ["--host", address, *flags]) as party:
        yield party


@asynccontextmanager
async def in_process() -> AsyncIterator[Party]:
    """Open an orchestrator with its node in this process."""
    from orchestrator.bench import services

    app = [services.echo, services.tensor, services.stream]
    async with Orchestrator(app=app) as orchestrator:
        client = LibraryClient(orchestrator, vars(services))
        yield Party("isthmus, in process", client, _CALLS)


@asynccontextmanager
async def _opened(name: str, app: str, address: str, flags: Sequence[str]) -> AsyncIterator[Party]:
    """Start the daemon; the block begins when the orchestrator sees it ready."""
    from importlib import import_module

    node = {"name": "edge", "tier": "edge", "address": address, "insecure": True}
    command = [sys.executable, "-m", "edge_node", "--app", app, *flags]
    module = import_module(app)
    async with Orchestrator({"nodes": [node]}, app=()) as orchestrator:

        async def ready() -> bool:
            return not any(orchestrator.problems.values())

        async with running(command, ready, patience=60.0) as server:
            services = vars(module)
            can = _CALLS if "echo" in services else frozenset[Ability]({"embed"})
            yield Party(name, LibraryClient(orchestrator, services), can, server)
