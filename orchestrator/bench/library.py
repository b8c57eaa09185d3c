"""The library as a user has it: a daemon with an app, and an orchestrator that is open."""

import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast

from orchestrator.bench.parties import Ability, Floats, Party
from orchestrator.bench.processes import free_port, running
from orchestrator.client import Orchestrator
from orchestrator.core.call import Call
from orchestrator.core.context import calling_through
from orchestrator.core.deadline import Deadline
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Label, Level, Placement

SESSION, UNIX = "isthmus, session", "isthmus, Unix socket"
IN_PROCESS, UNARY = "isthmus, in process", "isthmus, single RPCs"

SERVICES = "orchestrator.bench.services"
EMBEDDING = "orchestrator.bench.embedding"

_CALLS: frozenset[Ability] = frozenset({"echo", "tensor", "stream"})


@dataclass(frozen=True, slots=True)
class RpcClient:
    """Asks a node by single RPCs, with the library above its wire left out."""

    channel: UnaryChannel

    async def stream(self, count: int) -> AsyncIterator[Any]:
        """Yield so many chunks."""
        call = Call(
            id="1" * 16,
            trace="1" * 32,
            service="stream",
            version="",
            arguments={"count": count},
            label=Label(),
            deadline=Deadline.after(30.0),
            placement=Placement("edge"),
            stream=True,
        )
        async with aclosing((await self.channel.send(call)).value) as chunks:
            async for chunk in chunks:
                yield chunk


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
    name: str = SESSION, app: str = SERVICES, flags: Sequence[str] = ()
) -> AsyncIterator[Party]:
    """Run an edge node and an orchestrator that knows it, over TCP."""
    port = free_port()
    where = ["--port", str(port)]
    async with _opened(name, app, f"127.0.0.1:{port}", [*where, *flags]) as party:
        yield party


@asynccontextmanager
async def over_unix_socket() -> AsyncIterator[Party]:
    """Run the same over a Unix socket, where a daemon can listen on one."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        address = f"unix:{folder}/node.sock"
        async with _opened(UNIX, SERVICES, address, ["--host", address]) as party:
            yield party


@asynccontextmanager
async def over_single_rpcs() -> AsyncIterator[Party]:
    """Run an edge node and ask it by `Stream`, one RPC a call, as other languages do."""
    async with over_session() as party:
        channel = UnaryChannel(party.address, Clearance(Level.PUBLIC))
        async with aclosing(channel):
            yield replace(party, name=UNARY, client=RpcClient(channel))


@asynccontextmanager
async def in_process() -> AsyncIterator[Party]:
    """Open an orchestrator with its node in this process."""
    from orchestrator.bench import services

    app = [services.echo, services.tensor, services.stream]
    async with Orchestrator(app=app) as orchestrator:
        client = LibraryClient(orchestrator, vars(services))
        yield Party(IN_PROCESS, client, _CALLS)


@asynccontextmanager
async def _opened(name: str, app: str, address: str, flags: Sequence[str]) -> AsyncIterator[Party]:
    """Start the daemon; the block begins when the orchestrator sees it ready."""
    node = {"name": "edge", "tier": "edge", "address": address, "insecure": True}
    command = [sys.executable, "-m", "edge_node", "--app", app, *flags]
    module = import_module(app)
    async with Orchestrator({"nodes": [node]}, app=()) as orchestrator:

        async def ready() -> bool:
            return not any(orchestrator.problems.values())

        async with running(command, ready, patience=60.0) as server:
            services = vars(module)
            can = _CALLS if "echo" in services else frozenset[Ability]({"embed"})
            yield Party(name, LibraryClient(orchestrator, services), can, server, address=address)
