"""The library as a user has it: a daemon with an app, and an orchestrator that is open."""

import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast

from orchestrator.bench.parties import Ability, Floats, Party
from orchestrator.bench.processes import running
from orchestrator.client import Orchestrator
from orchestrator.core.call import Call
from orchestrator.core.context import calling_through
from orchestrator.core.deadline import Deadline
from orchestrator.core.ports import free_port
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Label, Level, Placement

SESSION, UNIX = "isthmus, session over TCP", "isthmus, Unix socket"
NEARBY, IN_PROCESS = "isthmus, same machine", "isthmus, in process"
UNARY = "isthmus, single RPCs"

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


_FAR = {"session_socket": False}
"""Of a node's entry: let it be spoken to as if it were on another machine."""


@asynccontextmanager
async def over_session(
    name: str = SESSION, app: str = SERVICES, flags: Sequence[str] = ()
) -> AsyncIterator[Party]:
    """Run an edge node and an orchestrator that knows it, over TCP, with nothing shared."""
    port = free_port()
    where = ["--port", str(port)]
    entry = {"address": f"127.0.0.1:{port}", **_FAR}
    async with _opened(name, app, entry, [*where, *flags], shared_mib=0) as party:
        yield party


@asynccontextmanager
async def nearby() -> AsyncIterator[Party]:
    """Run the same as it is on one machine: over the node's own socket, memory shared."""
    port = free_port()
    entry = {"address": f"127.0.0.1:{port}"}
    async with _opened(NEARBY, SERVICES, entry, ["--port", str(port)]) as party:
        yield party


@asynccontextmanager
async def over_unix_socket() -> AsyncIterator[Party]:
    """Run the same with gRPC over a Unix socket, and nothing shared."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        path = f"{folder}/node.sock"
        entry = {"address": f"unix:{path}", **_FAR}
        flags = ["--port", "0", "--socket", path]
        async with _opened(UNIX, SERVICES, entry, flags, shared_mib=0) as party:
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
async def _opened(
    name: str, app: str, entry: Mapping[str, Any], flags: Sequence[str], shared_mib: int = 128
) -> AsyncIterator[Party]:
    """Start the daemon; the block begins when the orchestrator sees it ready."""
    node = {"name": "edge", "tier": "edge", "insecure": True, **entry}
    settings = {"nodes": [node], "shared_memory_mib": shared_mib}
    command = [sys.executable, "-m", "edge_node", "--app", app, *flags]
    module = import_module(app)
    async with Orchestrator(settings, app=()) as orchestrator:

        async def ready() -> bool:
            return not any(orchestrator.problems.values())

        async with running(command, ready, patience=60.0) as server:
            services = vars(module)
            can = _CALLS if "echo" in services else frozenset[Ability]({"embed"})
            client = LibraryClient(orchestrator, services)
            yield Party(name, client, can, server, address=entry["address"])
