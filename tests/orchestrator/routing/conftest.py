import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.core.call import Call, Reply
from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.report import NodeReport, ServiceReport
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.testing import ManualClock, ScriptedChannel
from policies.facts import PUBLIC, Clearance, Label, Level, Placement, Tier

SECRET = Clearance(Level.SECRET)
BOTH_TIERS = Placement("edge", "overflow")


@dataclass
class FollowedChannel(ScriptedChannel):
    """A channel whose node reports what the test says, when it says so.

    A step of its script may also be an async function from the call to the reply.

    Attributes:
        news: Reports to come; None ends them, an exception breaks them off.
        failure: What asking the node ends in, if it cannot be reached.
        asked: When the node was asked what it is.
        watched: Streams of reports that are open.
        closed: Whether the channel was closed.
    """

    news: asyncio.Queue[NodeReport | BaseException | None] = field(default_factory=asyncio.Queue)
    failure: Exception | None = None
    asked: list[float] = field(default_factory=list)
    watched: int = 0
    closed: bool = False

    async def send(self, call: Call) -> Reply:
        if self.script and inspect.iscoroutinefunction(self.script[0]):
            reply: Reply = await self.script.pop(0)(call)
            return reply
        return await super().send(call)

    async def describe(self) -> NodeReport:
        self.asked.append(asyncio.get_running_loop().time())
        if self.failure:
            raise self.failure
        return self.report

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        self.watched += 1
        try:
            while (said := await self.news.get()) is not None:
                if isinstance(said, BaseException):
                    raise said
                yield said
        finally:
            self.watched -= 1

    async def aclose(self) -> None:
        self.closed = True


def _report(tier: Tier = "edge", **facts: Any) -> NodeReport:
    services = (ServiceReport("echo", "v1", "(text: str) -> str", stream=False, service_ms=5.0),)
    known = {"services": services, "clearance": Clearance(Level.SECRET), "state": "ready", **facts}
    return NodeReport(f"{tier}-1", tier, **known)


def _endpoint(
    name: str = "edge-1",
    tier: Tier = "edge",
    *,
    clearance: Clearance = SECRET,
    script: list[Any] | None = None,
    clock: Clock | None = None,
    up: bool = True,
    max_in_flight: int = 128,
) -> Endpoint:
    channel = FollowedChannel(clearance, _report(tier), script or [])
    options = EndpointOptions(
        name=name, tier=tier, address="here", clearance=clearance, max_in_flight=max_in_flight
    )
    endpoint = Endpoint(options, channel, clock or ManualClock())
    if up:
        endpoint.saw_report(channel.report)
    return endpoint


def _call(
    label: Label = PUBLIC,
    *,
    text: Any = "hello",
    seconds: float = 30.0,
    placement: Placement = BOTH_TIERS,
    stream: bool = False,
) -> Call:
    return Call(
        id="0" * 16,
        trace="0" * 32,
        service="echo",
        version="v1",
        arguments={"text": text},
        label=label,
        deadline=Deadline.after(seconds, ManualClock()),
        placement=placement,
        stream=stream,
    )


@pytest.fixture
def make_report() -> Callable[..., NodeReport]:
    """Makes what a node says of itself: `(tier="edge", **facts)`."""
    return _report


@pytest.fixture
def make_endpoint() -> Callable[..., Endpoint]:
    """Makes an endpoint over a `FollowedChannel`; see `_endpoint`."""
    return _endpoint


@pytest.fixture
def make_call() -> Callable[..., Call]:
    """Makes a call of the service "echo"; see `_call`."""
    return _call
