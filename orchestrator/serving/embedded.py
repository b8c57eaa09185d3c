"""An edge and a cloud in this process: the same nodes as the daemons', without a transport."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from orchestrator.core.audit import Audit
from orchestrator.core.context import Caller
from orchestrator.core.deadline import Clock
from orchestrator.core.spec import Declaration
from orchestrator.models.store import ModelStore
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.serving.runtimes import find_runtime
from policies.facts import Clearance, Level, Tier

CLEARANCES: Mapping[Tier, Clearance] = {
    "edge": Clearance(Level.SECRET),
    "cloud": Clearance(Level.INTERNAL),
}
"""What nodes accept unless the operator says otherwise."""


@asynccontextmanager
async def embedded_nodes(
    declarations: Iterable[Declaration],
    store: Path,
    caller: Caller,
    clock: Clock = time.monotonic,
    audit: Audit | None = None,
) -> AsyncIterator[list[Node]]:
    """Run a node for each tier whose runtime is installed, while the block runs.

    Args:
        declarations: What they serve.
        store: Where their models are.
        caller: What takes the calls that bodies make.
        clock: Their clock.
        audit: Where they write down what happens to labelled data.

    Raises:
        ModelUnavailable: A model that a service needs is missing or damaged.
    """
    declarations = list(declarations)
    async with AsyncExitStack() as stack:
        nodes = []
        for tier, clearance in CLEARANCES.items():
            if kind := find_runtime(tier):
                options = NodeOptions(name=tier, tier=tier, clearance=clearance)
                node = Node(options, kind(), ModelStore(store), clock, audit)
                stack.push_async_callback(node.aclose)
                await node.start(declarations, caller)
                nodes.append(node)
        yield nodes
