"""An edge and a cloud in this process under a caller of their own, for random programs."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator.core.apps import declarations_of
from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.call import Call, Result
from orchestrator.core.context import opened
from orchestrator.core.deadline import Clock
from orchestrator.core.home import Home
from orchestrator.core.spec import Declaration
from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.dispatch.interceptors import Interceptor, wrap
from orchestrator.models.store import ModelStore
from orchestrator.resilience.retry import RetryBudget
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.routing.router import Router
from orchestrator.serving.embedded import CLEARANCES
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.testing import FakeRuntime, ManualClock
from orchestrator.wire.channel import Channel
from policies.catalog import build_chain
from policies.facts import Clearance, Tier

Connect = Callable[[Node, Clearance], Channel]
"""Returns a channel to a node that may receive so much."""


class Standing(Directory):
    """A directory without probes: its endpoints are there, and stay."""

    def __init__(self, endpoints: Sequence[Endpoint], source: random.Random) -> None:
        super().__init__(source)
        self._standing = {endpoint.name: endpoint for endpoint in endpoints}

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints."""
        return list(self._standing.values())

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name."""
        return self._standing.get(name)


class Fleet:
    """The caller of an edge and a cloud; every `renew` makes its whole way to them anew.

    Its clock stands still and its ids come from a seed, so that equal programs give equal bytes.

    Attributes:
        nodes: The nodes, by name.
        interceptors: See every call from the next `renew` on.
    """

    def __init__(self, connect: Mapping[str, Connect]) -> None:
        self.home = Home.here()
        self.clock: Clock = ManualClock()
        self.random = random.Random(0)
        self.reveal_allowed = True
        self.audit: Audit = LoggedAudit()
        self.nodes: dict[str, Node] = {}
        self.interceptors: Sequence[Interceptor] = ()
        self._connect = connect
        self._endpoints: list[Endpoint] = []
        self._way: Callable[[Call], Any] = self._closed

    async def renew(self, seed: int) -> None:
        """Begin as a caller that was just started."""
        await self.aclose()
        self.random = source = random.Random(seed)
        self._endpoints = [self._endpoint(node) for node in self.nodes.values()]
        router = Router(Standing(self._endpoints, source), build_chain(), clock=self.clock)
        dispatcher = Dispatcher(router, RetryBudget(clock=self.clock), source, self.clock)
        self._way = wrap(dispatcher.invoke, self.interceptors)

    async def aclose(self) -> None:
        """Close the way to the nodes."""
        for endpoint in self._endpoints:
            await endpoint.aclose()
        self._endpoints = []

    def is_prepared(self, declaration: Declaration) -> bool:
        """Say yes: the nodes serve all there is."""
        return True

    async def prepare(self, declaration: Declaration) -> None:
        """Do nothing."""

    async def invoke(self, call: Call) -> Result[Any]:
        """Bring a call to a node."""
        result: Result[Any] = await self._way(call)
        return result

    async def _closed(self, call: Call) -> Result[Any]:
        raise RuntimeError("renew the fleet first")

    def _endpoint(self, node: Node) -> Endpoint:
        options = EndpointOptions(
            name=node.name, tier=node.tier, address="this process", clearance=node.clearance
        )
        channel = self._connect[node.name](node, node.clearance)
        endpoint = Endpoint(options, channel, self.clock)
        endpoint.saw_report(node.report())
        return endpoint


@asynccontextmanager
async def running_fleet(
    services: Sequence[Any],
    connect: Mapping[str, Connect],
    clearances: Mapping[str, Clearance] | None = None,
) -> AsyncIterator[Fleet]:
    """Run nodes that serve services while the block runs, with the fleet as their caller.

    Args:
        services: What the nodes serve.
        connect: How each node is reached, by its name, which begins with its tier.
        clearances: What nodes may receive that have not their tier's clearance.
    """
    fleet = Fleet(connect)
    async with AsyncExitStack() as stack:
        for name in connect:
            tier: Tier = "edge" if name.startswith("edge") else "cloud"
            clearance = (clearances or {}).get(name, CLEARANCES[tier])
            options = NodeOptions(name=name, tier=tier, clearance=clearance)
            node = Node(options, FakeRuntime(tier), ModelStore(Path("models")), fleet.clock)
            stack.push_async_callback(node.aclose)
            await node.start(declarations_of(services), fleet)
            fleet.nodes[name] = node
        stack.push_async_callback(fleet.aclose)
        with opened(fleet):
            yield fleet
