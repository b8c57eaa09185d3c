"""A caller that answers by a function, so that handles can be tried without any node."""

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.call import Call, Chunks, Result, Timings
from orchestrator.core.context import opened
from orchestrator.core.deadline import Clock
from orchestrator.core.home import Home
from orchestrator.core.spec import Declaration
from orchestrator.testing import ManualClock
from policies.facts import CallFacts, Decision


class FakeCaller:
    """Takes calls on a home loop and keeps what it saw.

    Attributes:
        time: Its clock.
        answer: Gives a call's value, awaited if it can be; of a stream, an async generator.
        calls: The calls in their order.
        prepared: The names of the services it was asked to prepare.
        running: Calls in flight now.
        peak: The most there were at once.
        cancelled: Calls that were given up.
        on_prepare: What happens while a service is prepared.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.time = ManualClock()
        self.clock: Clock = self.time
        self.random = random.Random(7)
        self.audit: Audit = LoggedAudit()
        self.reveal_allowed = True
        self.answer: Callable[[Call], Any] = lambda call: next(iter(call.arguments.values()), None)
        self.calls: list[Call] = []
        self.prepared: list[str] = []
        self.running = self.peak = self.cancelled = 0
        self.on_prepare: Callable[[], None] = lambda: None

    def is_prepared(self, declaration: Declaration) -> bool:
        return False

    async def prepare(self, declaration: Declaration) -> None:
        assert self.home.is_here()
        self.prepared.append(declaration.spec.name)
        self.on_prepare()

    async def invoke(self, call: Call) -> Result[Any]:
        assert self.home.is_here()
        self.calls.append(call)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            value = self.answer(call)
            if inspect.isawaitable(value):
                value = await value
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if call.stream:
            value = Chunks(value, lambda: Timings(node_ms=5.0))
        facts = CallFacts(call.service, call.version, call.label, call.placement, 0, 0.0)
        return Result(
            value=value,
            tier=call.placement.home,
            node="fake",
            label=call.label,
            decision=Decision(facts, (), ()),
            timings=Timings(),
            total_ms=1.0,
            attempts=("fake",),
            call_id=call.id,
        )


@pytest.fixture
def caller() -> Iterator[FakeCaller]:
    """An open caller whose home is a loop in a thread of its own."""
    home = Home()
    fake = FakeCaller(home)
    try:
        with opened(fake):
            yield fake
    finally:
        home.close()


@pytest.fixture
async def caller_here() -> AsyncIterator[FakeCaller]:
    """An open caller whose home is the test's own loop."""
    fake = FakeCaller(Home.here())
    with opened(fake):
        yield fake
