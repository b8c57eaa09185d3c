"""A node's life without a transport: load and warm, serve, report, drain, stop."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from orchestrator.core.call import Call, Reply
from orchestrator.core.context import Caller
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import EndpointUnavailable
from orchestrator.core.home import Home
from orchestrator.core.model import Model, Runtime
from orchestrator.core.report import NodeReport, State
from orchestrator.core.running import Meter, running
from orchestrator.core.spec import Declaration
from orchestrator.core.stepping import OnWait, nobody
from orchestrator.models.store import ModelStore
from orchestrator.serving.admission import Admission
from orchestrator.serving.batching.batcher import BatchOptions
from orchestrator.serving.bodies import Bodies
from orchestrator.serving.dataplane import DataPlane
from orchestrator.serving.metrics import NodeMetrics
from orchestrator.serving.pool import ModelPool
from orchestrator.serving.registry import Registry
from policies.facts import Clearance, Tier

_log = logging.getLogger("isthmus.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a node is, beyond its runtime.

    Attributes:
        name: What the operator calls it.
        tier: Where it stands.
        clearance: The most private data it accepts and opens.
        slots: Blocking bodies that run side by side.
        max_in_flight: The most calls in the node, waiting ones included.
        batching: How the rows of callers are put together for a model.
    """

    name: str
    tier: Tier
    clearance: Clearance
    slots: int = field(default_factory=lambda: max(4, os.cpu_count() or 1))
    max_in_flight: int = 512
    batching: BatchOptions = field(default_factory=BatchOptions)


class Node:
    """Serves declared services with one runtime; use it on one event loop only.

    It is the `CallHandler` that channels see and the `NodeHandle` that bodies see.

    Args:
        options: What it is.
        runtime: What executes its models.
        store: Where its models are.
        clock: Its clock.
    """

    def __init__(
        self,
        options: NodeOptions,
        runtime: Runtime,
        store: ModelStore,
        clock: Clock = time.monotonic,
    ) -> None:
        self.options = options
        self.name = options.name
        self.tier = options.tier
        self.clearance = options.clearance
        self.runtime = runtime
        self.home = Home.here()
        self.metrics = NodeMetrics()
        self.pool = ModelPool(store, runtime, options.batching, clock)
        self.registry = Registry(options.tier)
        self.admission = Admission(options.max_in_flight)
        self._bodies = Bodies(options.slots, clock)
        self._plane: DataPlane | None = None
        self._clock = clock
        self._born = clock()
        self._state: State = "starting"
        self._serving = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._changes = 0
        self._closed = False

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    async def start(self, declarations: Iterable[Declaration], caller: Caller) -> None:
        """Load and warm what the services need, then be ready.

        Args:
            declarations: The services; those that never run on this tier are left out.
            caller: What takes the calls that their bodies make.

        Raises:
            ModelUnavailable: A model is missing, damaged, or cannot be loaded.
        """
        self._plane = DataPlane(
            self,
            self.registry,
            self.admission,
            self._bodies,
            caller,
            self.metrics,
            self._clock,
        )
        for declaration in declarations:
            await self.serve(declaration)
        await self.become("ready")

    async def serve(self, declaration: Declaration) -> None:
        """Serve one more service, once its models are warm."""
        if not declaration.spec.placement.allows(self.tier):
            return
        async with self._serving:
            if not self.registry.serves(declaration):
                for model in declaration.spec.models:
                    await self.pool.load(model)
                await self.registry.add(declaration)

    async def become(self, state: State) -> None:
        """Enter a state and tell everyone who follows the reports."""
        if self._state != state:
            self._state = state
            _log.info("node %s is %s", self.name, state)
            await self._tell()

    async def drain(self, lame_duck: float, seconds: float) -> bool:
        """Say goodbye, then take no more calls, then wait for those inside.

        Args:
            lame_duck: Seconds in which calls are still taken, until every caller has heard it.
            seconds: The longest wait for the calls inside.

        Returns:
            Whether the last call has left.
        """
        await self.become("draining")
        await asyncio.sleep(lame_duck)
        self.admission.close()
        try:
            async with asyncio.timeout(seconds):
                await self.admission.empty()
        except TimeoutError:
            _log.warning("node %s gives %d calls up", self.name, self.admission.inside)
            return False
        return True

    async def end_reports(self) -> None:
        """End the reports, so that nobody who follows them holds the server up."""
        self._closed = True
        await self._tell()

    async def aclose(self) -> None:
        """End the reports and unload the models."""
        await self.end_reports()
        await self.pool.aclose()

    async def _tell(self) -> None:
        async with self._changed:
            self._changes += 1
            self._changed.notify_all()

    async def handle(self, call: Call, on_wait: OnWait = nobody) -> Reply:
        """Run a call whose arguments came over a channel; see `DataPlane.handle`."""
        if self._plane is None or self._state == "starting":
            raise EndpointUnavailable(
                "the node is still starting", node=self.name, call_id=call.id, shareable=True
            )
        return await self._plane.handle(call, on_wait)

    def report(self) -> NodeReport:
        """Say what the node is and how busy."""
        models = self.pool.reports
        return NodeReport(
            name=self.name,
            tier=self.tier,
            state=self._state,
            clearance=self.clearance,
            software=_software(),
            device=self.runtime.device,
            waiting=self.admission.inside,
            # Bodies wait for their model, and a model works on so many batches at a time.
            parallelism=self.pool.parallelism if models else self.options.slots,
            uptime_ms=(self._clock() - self._born) * 1e3,
            services=self.registry.reports,
            models=models,
        )

    async def reports(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Report at once, on every change of state, every so many seconds, until the end."""
        while not self._closed:
            seen = self._changes
            yield self.report()
            with suppress(TimeoutError):
                async with asyncio.timeout(interval), self._changed:
                    while self._changes == seen:
                        await self._changed.wait()

    async def run_model(self, model: Model, inputs: Any) -> Any:
        """Run this node's form of a model, batched with other callers."""
        here = running()
        if here is None:
            return await self.pool.run(model, inputs, Meter())
        return await self.pool.run(model, inputs, here.meter, here.deadline)

    def run_model_blocking(self, model: Model, inputs: Any) -> Any:
        """Do the same from a worker thread."""
        return self.home.block(self.run_model(model, inputs), f"`await {model.name}.aio(...)`")


def _software() -> str:
    try:
        return version("isthmus")
    except PackageNotFoundError:
        return "unknown"
