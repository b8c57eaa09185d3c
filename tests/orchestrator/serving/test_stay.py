import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.call import Call, Timings
from orchestrator.core.errors import Overloaded, ServiceFailed
from orchestrator.core.stepping import nobody
from orchestrator.decorators import edge_service
from orchestrator.serving.stay import Stay

MakeCall = Callable[..., Call]


@edge_service(inline=True)
def echo(text: str) -> str:
    return text


@pytest.fixture
def stay(call_of: MakeCall) -> Stay:
    return Stay(call_of(echo, text="x"), 1000.0, nobody)


def test_a_call_that_has_just_come_has_used_nothing(stay: Stay) -> None:
    assert (stay.outcome, stay.busy_ms, stay.limit, stay.timings) == ("OK", 0.0, None, Timings())
    assert (stay.meter.queue_ms, stay.meter.shared_ms) == (0.0, 0.0)


def test_what_it_took_is_split_in_waiting_and_work_of_its_own(stay: Stay) -> None:
    stay.meter.queue_ms, stay.meter.shared_ms, stay.busy_ms = 20.0, 10.0, 70.0
    stay.measure(1000.1, waiting=3)
    assert stay.timings.node_ms == pytest.approx(100.0)
    assert (stay.timings.queue_ms, stay.timings.service_ms, stay.timings.waiting) == (30.0, 40.0, 3)


def test_waiting_that_was_counted_twice_makes_no_negative_work(stay: Stay) -> None:
    stay.meter.queue_ms, stay.busy_ms = 30.0, 20.0  # models that it waited for side by side
    stay.measure(1000.02, waiting=0)
    assert stay.timings.service_ms == 0.0


def test_two_stays_share_no_meter(stay: Stay) -> None:
    other = Stay(stay.call, 1000.0, nobody)
    other.meter.queue_ms = 5.0
    assert stay.meter.queue_ms == 0.0


def test_an_error_of_ours_is_the_outcome_and_learns_where_it_was(stay: Stay) -> None:
    stay.note(error := ServiceFailed("x"), "node-1")
    assert stay.outcome == ServiceFailed.code
    assert (error.node, error.call_id) == ("node-1", stay.call.id)


def test_an_error_that_knows_where_it_was_keeps_it(stay: Stay) -> None:
    stay.note(error := Overloaded("x", node="node-2", call_id="f" * 16), "node-1")
    assert (error.node, error.call_id) == ("node-2", "f" * 16)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(asyncio.CancelledError(), "CANCELLED"), (GeneratorExit(), "CANCELLED"), (KeyError(), "OK")],
)
def test_a_call_that_was_left_counts_as_cancelled(stay: Stay, error: Any, outcome: str) -> None:
    stay.note(error, "node-1")
    assert stay.outcome == outcome


async def test_a_node_measures_each_call_by_itself(node_with: Any, call_of: MakeCall) -> None:
    async with node_with(echo) as node:
        replies = [await node.handle(call_of(echo, text="x")) for _ in range(2)]
    for reply in replies:
        assert 0 < reply.timings.service_ms <= reply.timings.node_ms
        assert (reply.timings.queue_ms, reply.timings.waiting) == (0.0, 0)
