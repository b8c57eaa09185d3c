"""A payload never stands in a daemon's log, its metrics, or an error: looked for by a canary."""

import asyncio
import logging
from types import ModuleType
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from orchestrator import Orchestrator, Sensitive
from orchestrator.core.errors import CallError
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until

CANARY = "canary-7f3a91c2"


@pytest.fixture(scope="module", params=["text", "json"])
def edge(start_shared: "Start", request: pytest.FixtureRequest) -> "Daemon":
    return start_shared("edge", "--log-level", "debug", "--log-format", request.param)


def traces(edge: "Daemon") -> list[str]:
    """Return where the canary is seen from outside of the calls themselves."""
    places = {"log": edge.output, "metrics": edge.page("/metrics")[1]}
    return [name for name, text in places.items() if CANARY in text]


async def complaint(service: Any, *arguments: Any) -> str:
    """Return all that an error says to whoever prints it."""
    with pytest.raises(CallError) as caught:
        await service.aio(*arguments)
    error = caught.value
    return f"{error} {error!r} {vars(error)} {error.__cause__!r}"


async def test_no_payload_stands_in_logs_metrics_or_errors_of_calls_that_went_well_or_badly(
    edge: "Daemon", shop: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        assert len(await shop.redact.aio(Sensitive(CANARY))) == len(CANARY)
        assert await shop.quote.aio(CANARY) == len(CANARY)
        said = [
            await complaint(shop.fail, CANARY),
            await complaint(shop.lie, CANARY),
            await complaint(shop.seal, Sensitive(CANARY)),
            await complaint(shop.quote.options(deadline="50ms"), CANARY),
        ]
    assert [CANARY in words for words in said] == [False] * 4
    assert CANARY not in caplog.text
    assert traces(edge) == []
    assert "fail failed in call" in edge.output  # the failures themselves are logged


async def test_no_payload_stands_in_the_answer_to_a_stranger_who_sends_nonsense(
    edge: "Daemon",
) -> None:
    public = pb.Label(level=pb.LEVEL_PUBLIC)
    requests = [
        pb.InvokeRequest(service=CANARY, label=public),
        pb.InvokeRequest(service="add", version=CANARY, label=public),
        pb.InvokeRequest(service="add", call_id=CANARY, trace_parent=CANARY, label=public),
        pb.InvokeRequest(service="add", arguments=pb.Payload(json=f'"{CANARY}'), label=public),
        pb.InvokeRequest(
            service="add", arguments=pb.Payload(json=f'{{"a": "{CANARY}"}}'), label=public
        ),
        pb.InvokeRequest(
            service="add", arguments=pb.Payload(json=f'{{"{CANARY}": 1}}'), label=public
        ),
        pb.InvokeRequest(
            service="add", arguments=pb.Payload(json=f'{{"a": {{"${CANARY}": 1}}}}'), label=public
        ),
        pb.InvokeRequest(service="fail", arguments=pb.Payload(json=f'{{"text": "{CANARY}"}}')),
    ]
    async with grpc.aio.insecure_channel(edge.address) as channel:
        stub: Any = NodeStub(channel)
        for request in requests:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Invoke(request, timeout=5)
            answer = f"{caught.value} {caught.value.trailing_metadata()}"
            assert CANARY not in answer, request
    assert traces(edge) == []


async def test_no_payload_stands_in_the_log_of_a_stream_or_of_calls_that_were_left(
    edge: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        calls = [asyncio.create_task(shop.quote.aio(CANARY)) for _ in range(8)]
        stream = shop.echoes(CANARY, 100)
        assert await anext(stream) == CANARY
        for call in calls:
            call.cancel()
        await stream.aclose()
        broken = shop.echoes(CANARY, 1)
        with pytest.raises(CallError) as caught:
            async for _ in broken:
                pass
        await until(lambda: edge.metric("isthmus_requests_in_progress") == 0)
    assert CANARY not in str(caught.value)
    assert traces(edge) == []


async def test_no_payload_stands_in_the_log_when_an_arguments_own_checks_fail_on_the_node(
    start: "Start", shop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = shop.Parcel(CANARY)  # it is right here, and is not at the node
    monkeypatch.setenv("PARCELS", "refused")
    edge = start("edge")
    monkeypatch.delenv("PARCELS")
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        assert CANARY not in await complaint(shop.shelve, parcel)
    assert traces(edge) == []


async def test_the_search_finds_a_canary_that_a_body_prints_on_purpose(
    start: "Start", shop: ModuleType
) -> None:
    edge = start("edge")
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        await shop.say.aio(CANARY)
    assert traces(edge) == ["log"]


async def test_a_tensor_leaves_no_numbers_behind(edge: "Daemon", shop: ModuleType) -> None:
    numbers = np.full(3, 31337.25, np.float32)
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        await shop.double.aio(numbers)
    assert "31337" not in edge.output
    assert "31337" not in edge.page("/metrics")[1]
