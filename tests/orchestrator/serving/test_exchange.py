import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.core.call import Call, Reply, Timings
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import (
    CallError,
    Cancelled,
    InvalidInput,
    NoRoute,
    Overloaded,
    ServiceFailed,
    WireError,
)
from orchestrator.decorators import edge_service
from orchestrator.serving.exchange import Exchange
from orchestrator.testing import ManualClock
from orchestrator.wire.messages import call_id_of, decode_timings
from policies.facts import Label, Level, Placement
from protos.isthmus.v1 import node_pb2 as pb

CANARY = "canary-77b1"
PUBLIC = pb.Label(level=pb.LEVEL_PUBLIC)
MOST = 1000


@edge_service
async def echo(text: str) -> str:
    return text


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def exchange(node_with: Any, clock: Clock) -> AsyncIterator[Exchange]:
    async with node_with(echo) as node:
        yield Exchange(node, MOST, clock)


def request(json: str = "{}", **changes: Any) -> pb.InvokeRequest:
    fields: dict[str, Any] = {"label": PUBLIC, "service": "echo"} | changes
    return pb.InvokeRequest(arguments=pb.Payload(json=json), **fields)


def refused(exchange: Exchange, message: pb.InvokeRequest, kind: type[CallError]) -> str:
    with pytest.raises(kind) as caught:
        call_of(exchange, message)
    return str(caught.value)


async def test_a_message_becomes_the_call_it_stands_for(
    exchange: Exchange, clock: ManualClock
) -> None:
    message = request(
        '{"text": "x"}',
        call_id="0123456789abcdef",
        trace_parent=f"00-{'b' * 32}-{'c' * 16}-01",
        version="v1",
        label=pb.Label(level=pb.LEVEL_SENSITIVE, categories=["pii"]),
        timeout_us=1_500_000,
        attempt=2,
    )
    call = exchange.call_of(message, 5.0, stream=True)
    assert (call.id, call.trace, call.service) == ("0123456789abcdef", "b" * 32, "echo")
    assert (call.version, call.attempt, call.stream) == ("v1", 2, True)
    assert call.arguments == {"text": "x"}
    assert call.label == Label(Level.SENSITIVE, frozenset({"pii"}))
    assert call.deadline.left() == 1.5
    assert call.placement == Placement("edge")
    clock.turn(2)
    assert call.deadline.left() == -0.5


async def test_a_call_that_says_nothing_of_time_has_what_its_transport_gives_it(
    exchange: Exchange,
) -> None:
    assert exchange.call_of(request(), 5.0, stream=False).deadline.left() == 5.0


async def test_a_call_without_a_label_is_refused(exchange: Exchange) -> None:
    assert exchange.call_of(request(), 5.0, stream=False).label == Label()  # the positive control
    for label in (None, pb.Label()):
        assert "set label.level" in refused(exchange, request(label=label), InvalidInput)


@pytest.mark.parametrize("json", ["{", "[]", "5", '{"a": {"$tensor": 0}}', '{"a": {"$label": 1}}'])
async def test_arguments_that_make_no_sense_are_a_wire_error(exchange: Exchange, json: str) -> None:
    refused(exchange, request(json), WireError)


def call_of(exchange: Exchange, message: pb.InvokeRequest) -> Call:
    return exchange.call_of(message, 5.0, stream=False)


async def test_arguments_above_the_limit_are_refused_with_a_cure(exchange: Exchange) -> None:
    text = '{"text": "%s"}'
    fits = call_of(exchange, request(text % ("x" * (MOST - 100))))
    assert len(fits.arguments["text"]) == MOST - 100
    said = refused(exchange, request(text % (CANARY * MOST)), InvalidInput)
    assert "raise max_call_mib" in said
    assert CANARY not in said


async def test_a_result_above_the_limit_is_refused_with_a_cure(exchange: Exchange) -> None:
    assert exchange.packed(bytes(MOST - 100)).attachments
    for take in (exchange.packed, lambda value: exchange.reply_of(Reply(value))):
        with pytest.raises(InvalidInput, match="raise max_call_mib"):
            take(bytes(MOST + 1))


async def test_a_reply_carries_value_and_timings(exchange: Exchange) -> None:
    message = exchange.reply_of(Reply({"a": 1}, Timings(3.0, 2.0, 1.0, 4)))
    assert message.result.json == '{"a":1}'
    assert decode_timings(message.timings) == Timings(3.0, 2.0, 1.0, 4)


async def test_an_error_of_ours_passes_with_node_and_call(exchange: Exchange) -> None:
    for given in (Overloaded("full"), ServiceFailed(exception="KeyError"), NoRoute()):
        error = exchange.error_of(given, "0123456789abcdef")
        assert error is given
        assert (error.node, error.call_id) == ("node-1", "0123456789abcdef")


async def test_an_error_that_names_its_node_and_call_keeps_them(exchange: Exchange) -> None:
    given = Overloaded("full", node="cloud-9", call_id="f" * 16)
    error = exchange.error_of(given, "0" * 16)
    assert (error.node, error.call_id) == ("cloud-9", "f" * 16)


@pytest.mark.parametrize("strange", [CANARY, "0" * 17, "G" * 16, "0123456789ABCDEF", ""])
async def test_an_id_that_is_none_of_ours_is_not_repeated(exchange: Exchange, strange: str) -> None:
    assert call_id_of(request(call_id=strange)) == ""
    assert exchange.call_of(request(call_id=strange), 5.0, stream=False).id == "0" * 16


async def test_a_failure_of_the_node_itself_says_nothing_to_callers_and_logs_no_payload(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = exchange.error_of(ValueError(CANARY), "0" * 16)
    assert (type(error), str(error)) == (WireError, WireError.public)
    assert "ValueError" in caplog.text
    assert CANARY not in f"{caplog.text} {error!r}"


async def test_a_call_that_was_given_up_is_told_as_cancelled(exchange: Exchange) -> None:
    assert type(exchange.error_of(asyncio.CancelledError(), "")) is Cancelled
