"""The public test kit: a clock you turn, a runtime of plain functions, nodes on free ports."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.core import catalogue
from orchestrator.core.apps import declarations_of
from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.call import Call, Reply
from orchestrator.core.errors import UsageError
from orchestrator.core.model import Array, Batch, Model, ModelFolder, Stop, TensorSpec, Way
from orchestrator.core.ports import free_port as free_port
from orchestrator.core.report import NodeReport
from orchestrator.core.running import Running, running_as
from orchestrator.models.manifest import TensorEntry
from orchestrator.models.store import ModelStore, write_manifest
from orchestrator.serving.embedded import CLEARANCES
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.serving.server import Binding, Server
from orchestrator.wire.guard import let_out
from policies.facts import Clearance, Tier

fresh_catalogue: Callable[[], AbstractContextManager[None]] = catalogue.fresh
"""Starts with an empty catalogue of services and puts the old one back at the end."""


class ManualClock:
    """A clock that stands still until it is turned.

    Args:
        now: Where it starts, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds it shows."""
        return self.now

    def turn(self, seconds: float) -> None:
        """Move it on."""
        self.now += seconds


Compute = Callable[[Batch, Stop], Mapping[str, Array]]
"""What a fake model does with a batch."""


class FakeRuntime:
    """Runs plain functions in place of models.

    Args:
        tier: The tier it stands for.
        models: What each model does.
    """

    def __init__(self, tier: Tier, models: Mapping[str, Compute] | None = None) -> None:
        self.tier = tier
        self.device = "fake"
        self.models = dict(models or {})
        self.loaded: list[str] = []
        self.problem: str | None = None
        self.parallel = 1

    def ways(self, folder: ModelFolder) -> list[Way]:
        """Return one way: `parallel` runs may overlap, which is 1 unless it was set."""
        return [Way(runs=self.parallel)]

    def load(self, model: Model, folder: ModelFolder) -> None:
        """Note that the model is loaded."""
        self.loaded.append(folder.name)

    def open(self, name: str, way: Way) -> Callable[[Batch, Stop], Batch]:
        """Return the model's function."""
        return partial(self.run, name)

    def use(self, name: str, way: Way) -> None:
        """Do nothing: there is one way."""

    def run(self, name: str, batch: Batch, stop: Stop) -> Batch:
        """Call the model's function."""
        return dict(self.models[name](batch, stop))

    def unload(self, name: str) -> None:
        """Note that the model is not loaded any more."""
        self.loaded.remove(name)

    def health(self) -> str | None:
        """Return the problem that was set, if one was."""
        return self.problem


def fake_model(
    store: Path, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Put a model without weights into a store, for a `FakeRuntime`."""
    with ModelStore(store).adding(name, replace=True) as folder:
        (folder / "fake.txt").write_text("A fake model has no weights.\n")
        given, answered = map(TensorEntry.of, inputs), map(TensorEntry.of, outputs)
        write_manifest(folder, "tensor", list(given), list(answered), {})


@asynccontextmanager
async def running_node(
    tier: Tier,
    *services: Any,
    store: Path = Path("models"),
    models: Mapping[str, Compute] | None = None,
    clearance: Clearance | None = None,
    name: str = "",
) -> AsyncIterator[Node]:
    """Run a node without a transport, with a `FakeRuntime`, on the running loop.

    Args:
        tier: Where it stands.
        services: What it serves: services, or classes of services.
        store: Where its models are.
        models: What each model does.
        clearance: The most it accepts; by default what its tier has.
        name: Its name; by default its tier.
    """
    options = NodeOptions(
        name=name or tier, tier=tier, clearance=clearance or CLEARANCES[tier], slots=4
    )
    node = Node(options, FakeRuntime(tier, models), ModelStore(store))
    try:
        await node.start(declarations_of(services), LocalCaller(node))
        yield node
    finally:
        await node.aclose()


@asynccontextmanager
async def listening(node: Node, binding: Binding | None = None) -> AsyncIterator[str]:
    """Serve a node over gRPC on a free port of this machine, and give its address."""
    binding = binding or Binding()
    server = Server(node, binding)
    port = await server.start()
    try:
        yield f"{binding.host}:{port}"
    finally:
        await server.stop(0.0)


@dataclass
class ScriptedChannel:
    """A channel that answers as it was told, and keeps what it was sent.

    Attributes:
        clearance: The most private data that the guard lets through.
        script: The answers in order: a value, or an exception to raise.
        report: What it says of its node.
        sent: The calls that passed the guard.
    """

    clearance: Clearance
    report: NodeReport
    script: list[Any] = field(default_factory=list)
    sent: list[Call] = field(default_factory=list)

    async def send(self, call: Call) -> Reply:
        """Give the next answer of the script."""
        let_out(call, self.clearance)
        self.sent.append(call)
        if not self.script:
            raise AssertionError(f"the script has no answer for call {len(self.sent)}")
        answer = self.script.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return Reply(answer)

    async def describe(self) -> NodeReport:
        """Give the report."""
        return self.report

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Give the report, and then nothing more."""
        yield self.report
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Do nothing."""


class _NoModels:
    """A node handle for bodies that are run by hand."""

    def __init__(self, tier: Tier, clearance: Clearance) -> None:
        self.name: str = tier
        self.tier = tier
        self.clearance = clearance
        self.audit: Audit = LoggedAudit()
        self.reveal_allowed = True

    async def run_model(self, model: Model, inputs: Any) -> Any:
        """Refuse: there is no runtime here."""
        raise self._without_models()

    def run_model_blocking(self, model: Model, inputs: Any) -> Any:
        """Refuse: there is no runtime here."""
        raise self._without_models()

    def _without_models(self) -> UsageError:
        return UsageError("as_node has no models: use running_node")


@contextmanager
def as_node(tier: Tier, clearance: Clearance | None = None) -> Iterator[None]:
    """Run the block as if on a node, so that `.local` bodies can open labelled values."""
    with running_as(Running(_NoModels(tier, clearance or CLEARANCES[tier]))):
        yield
