"""What the tests of a node share: calls as a channel hands them over, and nodes of any size."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.apps import declarations_of
from orchestrator.core.call import Call
from orchestrator.core.deadline import Clock, Deadline
from orchestrator.models.store import ModelStore
from orchestrator.serving.batching.batcher import BatchOptions
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.testing import Compute, FakeRuntime
from policies.facts import PUBLIC, Clearance, Label, Level, Tier

SECRET = Clearance(Level.SECRET)


@pytest.fixture
def call_of() -> Callable[..., Call]:
    """Make a call of a service, as it comes out of a channel."""
    numbers = itertools.count(1)

    def make(
        service: Any,
        label: Label = PUBLIC,
        seconds: float = 20.0,
        clock: Clock = time.monotonic,
        **arguments: Any,
    ) -> Call:
        spec = service.spec
        return Call(
            id=f"{next(numbers):016x}",
            trace="a" * 32,
            service=spec.name,
            version=spec.version,
            arguments=arguments,
            label=label,
            deadline=Deadline.after(seconds, clock),
            placement=spec.placement,
            stream=spec.streams,
        )

    return make


@pytest.fixture
def node_with(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Node]]:
    """Run a node whose sizes and runtime the test chooses."""

    @asynccontextmanager
    async def start(
        *services: Any,
        slots: int = 4,
        max_in_flight: int = 512,
        max_batch_size: int = 8,
        models: Mapping[str, Compute] | None = None,
        runtime: FakeRuntime | None = None,
        tier: Tier = "edge",
        clearance: Clearance = SECRET,
        clock: Clock = time.monotonic,
    ) -> AsyncIterator[Node]:
        options = NodeOptions(
            name="node-1",
            tier=tier,
            clearance=clearance,
            slots=slots,
            max_in_flight=max_in_flight,
            batching=BatchOptions(max_batch_size=max_batch_size),
        )
        runtime = runtime or FakeRuntime(tier, models)
        node = Node(options, runtime, ModelStore(tmp_path), clock)
        try:
            await node.start(declarations_of(services), LocalCaller(node, clock))
            yield node
        finally:
            await node.aclose()

    return start


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Any]:
    """Wait until a condition holds that other threads or processes bring about."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def turns() -> Callable[[], Any]:
    """Let everything that can go on without time passing go on."""

    async def turn(count: int = 50) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    return turn
