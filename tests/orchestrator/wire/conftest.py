"""What the tests of the wire share: calls of a service, as a caller would make them."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.deadline import Clock, Deadline
from policies.facts import PUBLIC, Label, Placement


@pytest.fixture
def call_of() -> Callable[..., Call]:
    """Make a call of a service, or of whatever name is given."""
    numbers = itertools.count(1)

    def make(
        service: Any = "echo",
        label: Label = PUBLIC,
        seconds: float = 10.0,
        clock: Clock = time.monotonic,
        **arguments: Any,
    ) -> Call:
        spec = getattr(service, "spec", None)
        return Call(
            id=f"{next(numbers):016x}",
            trace="a" * 32,
            service=spec.name if spec else service,
            version=spec.version if spec else "",
            arguments=arguments,
            label=label,
            deadline=Deadline.after(seconds, clock),
            placement=Placement("edge"),
            stream=spec.streams if spec else False,
        )

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Any]:
    """Wait until a condition holds that other threads or processes bring about."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    return wait
