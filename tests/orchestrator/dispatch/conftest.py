import asyncio
import inspect
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.core.audit import Audit
from orchestrator.core.call import Call, Reply
from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.errors import DeadlineExceeded, EndpointUnavailable
from orchestrator.core.report import NodeReport, ServiceReport
from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.resilience.retry import RetryBudget
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.routing.router import Router
from orchestrator.testing import ScriptedChannel
from orchestrator.wire.guard import let_out
from policies.catalog import build_chain
from policies.chain import Chain
from policies.facts import PUBLIC, Clearance, Decision, Label, Level, Placement, Tier

SECRET = Clearance(Level.SECRET)
BOTH_TIERS = Placement("edge", "overflow")


@dataclass
class StepChannel(ScriptedChannel):
    """A scripted channel whose steps may be async functions too, and whose script has no end.

    Attributes:
        otherwise: The answer when the script has ended.
        guarded: Whether the guard stands before it; only a positive control takes it away.
    """

    otherwise: Any = field(default_factory=lambda: EndpointUnavailable("gone"))
    guarded: bool = True

    async def send(self, call: Call) -> Reply:
        if self.guarded:
            let_out(call, self.clearance)
        self.sent.append(call)
        answer = self.script.pop(0) if self.script else self.otherwise
        if inspect.iscoroutinefunction(answer):
            try:
                async with asyncio.timeout(call.deadline.left()):  # as every channel does
                    answer = await answer(call)
            except TimeoutError:
                raise DeadlineExceeded from None
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(answer)


class Standing(Directory):
    """A directory without probes: who is there and how they are is the test's to say."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        super().__init__(random.Random(7))
        self.standing = {endpoint.name: endpoint for endpoint in endpoints}

    @property
    def endpoints(self) -> list[Endpoint]:
        return list(self.standing.values())

    def find(self, name: str) -> Endpoint | None:
        return self.standing.get(name)


class Recording(Router):
    """A router that keeps its decisions."""

    def __init__(self, directory: Directory, chain: Chain) -> None:
        super().__init__(directory, chain)
        self.decisions: list[Decision] = []

    def decide(self, call: Call, payload_bytes: int) -> Decision:
        decision = super().decide(call, payload_bytes)
        self.decisions.append(decision)
        return decision


class NoWaiting(random.Random):
    """Lets every backoff be none."""

    def random(self) -> float:
        return 0.0


class Fleet:
    """A dispatcher over scripted nodes."""

    def __init__(
        self,
        *endpoints: Endpoint,
        chain: Chain | None = None,
        budget: RetryBudget | None = None,
        clock: Clock = time.monotonic,
        audit: Audit | None = None,
    ) -> None:
        self.directory = Standing(endpoints)
        self.router = Recording(self.directory, chain or build_chain())
        self.budget = budget or RetryBudget(floor=1000.0, most=1e6)
        self.dispatcher = Dispatcher(self.router, self.budget, NoWaiting(), clock, audit)

    def channel(self, name: str) -> StepChannel:
        channel = self.directory.standing[name].channel
        assert isinstance(channel, StepChannel)
        return channel

    @property
    def sent(self) -> list[str]:
        """The nodes that calls were sent to, in order of their attempts."""
        pairs = [(c.attempt, name) for name in self.directory.standing for c in self.calls(name)]
        return [name for _, name in sorted(pairs)]

    def calls(self, name: str) -> list[Call]:
        return self.channel(name).sent


def _endpoint(
    name: str,
    tier: Tier = "edge",
    *script: Any,
    clearance: Clearance = SECRET,
    claims: Clearance = SECRET,
    cost: float = 1.0,
    guarded: bool = True,
    clock: Clock = time.monotonic,
    up: bool = True,
) -> Endpoint:
    service = ServiceReport("echo", "v1", "(text: str) -> str", stream=False, service_ms=cost)
    report = NodeReport(name, tier, "ready", claims, services=(service,))
    channel = StepChannel(clearance, report, list(script), guarded=guarded)
    options = EndpointOptions(name=name, tier=tier, address="here", clearance=clearance)
    endpoint = Endpoint(options, channel, clock)
    if up:
        endpoint.saw_report(report)
    return endpoint


def _call(
    label: Label = PUBLIC,
    *,
    text: Any = "hello",
    seconds: float = 30.0,
    clock: Clock = time.monotonic,
    placement: Placement = BOTH_TIERS,
    stream: bool = False,
    idempotent: bool = False,
) -> Call:
    return Call(
        id="0123456789abcdef",
        trace="0" * 32,
        service="echo",
        version="v1",
        arguments={"text": text},
        label=label,
        deadline=Deadline.after(seconds, clock),
        placement=placement,
        stream=stream,
        idempotent=idempotent,
    )


@pytest.fixture
def make_fleet() -> Callable[..., Fleet]:
    """Makes a `Fleet` of endpoints."""
    return Fleet


@pytest.fixture
def make_endpoint() -> Callable[..., Endpoint]:
    """Makes an endpoint that answers by script, `(name, tier, *script, ...)`; lower cost first."""
    return _endpoint


@pytest.fixture
def make_call() -> Callable[..., Call]:
    """Makes a call of the service "echo"; see `_call`."""
    return _call
