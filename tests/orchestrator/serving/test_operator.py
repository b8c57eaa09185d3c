import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.core.call import Call
from orchestrator.core.errors import CallError, SettingsError
from orchestrator.core.labels import Secret
from orchestrator.core.model import TensorSpec
from orchestrator.decorators import edge_service
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.access.access import Access
from orchestrator.serving.node import Node
from orchestrator.serving.operator import OperatorPage
from orchestrator.serving.watchdog import Watchdog
from orchestrator.testing import ManualClock, fake_model
from policies.facts import Label, Level

CANARY = "canary-b0b5"
MakeCall = Callable[..., Call]
tiny = TensorModel("tiny")
held = [asyncio.Event(), asyncio.Event()]


@edge_service
async def fail(text: str) -> str:
    raise KeyError(text)


@edge_service
async def echo(text: str) -> str:
    return text


@edge_service(declassifies=True)
async def redact(text: Secret[str]) -> str:
    return "***"


@edge_service(models=[tiny])
async def compute(x: np.ndarray) -> np.ndarray:
    return (await tiny.aio({"x": x}))["x"]


@edge_service
async def hold() -> None:
    held[0].set()
    await held[1].wait()


@asynccontextmanager
async def page_of(node: Node, watchdog: Watchdog | None = None) -> AsyncIterator[OperatorPage]:
    page = OperatorPage(node, watchdog or Watchdog(node), "127.0.0.1", 0)
    page.start()
    try:
        yield page
    finally:
        page.stop()


async def get(page: OperatorPage, path: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


def samples_of(text: str) -> dict[str, float]:
    """Parse as a Prometheus server does: name and labels in one string to number."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())):
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


async def test_metrics_tell_what_happened_and_nothing_of_what_was_sent(
    node_with: Any, call_of: MakeCall, tmp_path: Path
) -> None:
    held[:] = [asyncio.Event(), asyncio.Event()]
    spec = TensorSpec("x", "float32", ("batch",))
    fake_model(tmp_path, "tiny", [spec], [spec])
    label = Label(Level.SECRET, frozenset({CANARY}))
    services = (fail, echo, redact, compute, hold)
    async with node_with(*services, models={"tiny": lambda batch, stop: batch}) as node:
        for call in (
            call_of(echo, text=CANARY),
            call_of(fail, text=CANARY),
            call_of(echo, text=CANARY, wrong=CANARY),
            call_of(redact, label, text=Secret(CANARY, CANARY)),
            call_of(compute, x=np.ones(3, np.float32)),
        ):
            with suppress(CallError):
                await node.handle(call)
        inside = asyncio.create_task(node.handle(call_of(hold)))
        await held[0].wait()
        async with page_of(node) as page:
            status, text = await get(page, "/metrics")
        held[1].set()
        await inside
    samples = samples_of(text)
    assert status == 200
    assert CANARY not in text
    assert samples["isthmus_requests_total code=OK service=echo"] == 1
    assert samples["isthmus_requests_total code=INVALID_INPUT service=echo"] == 1
    assert samples["isthmus_requests_total code=SERVICE_FAILED service=fail"] == 1
    assert samples["isthmus_request_duration_seconds_count service=echo"] == 2
    assert samples["isthmus_declassifications_total service=redact"] == 1
    assert samples["isthmus_batches_total model=tiny"] == 1
    assert samples["isthmus_batch_rows_total model=tiny"] == 3
    assert samples["isthmus_queue_depth model=tiny"] == 0
    assert samples["isthmus_requests_in_progress"] == 1
    assert samples["isthmus_ready"] == 1


async def test_the_name_of_a_service_that_is_not_served_is_not_on_the_page(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(echo) as node:
        with pytest.raises(CallError):
            await node.handle(replace(call_of(echo), service=CANARY))
        async with page_of(node) as page:
            _, text = await get(page, "/metrics")
    assert samples_of(text)["isthmus_requests_total code=NO_ROUTE service=unknown"] == 1
    assert CANARY not in text


async def test_readiness_follows_the_state_and_liveness_does_not(node_with: Any) -> None:
    async with node_with(echo) as node, page_of(node) as page:
        for state, status in (("ready", 200), ("blocked", 503), ("draining", 503)):
            await node.become(state)
            assert await get(page, "/readyz") == (status, f"{state}\n")
            assert await get(page, "/healthz") == (status, f"{state}\n")
            assert (await get(page, "/livez"))[0] == 200
            ready = samples_of((await get(page, "/metrics"))[1])["isthmus_ready"]
            assert ready == (state == "ready")


async def test_any_other_path_tells_the_right_ones(node_with: Any) -> None:
    async with node_with(echo) as node, page_of(node) as page:
        status, text = await get(page, "/../../etc/passwd")
    assert (status, text) == (404, "try /metrics, /readyz or /livez\n")


async def test_a_node_that_takes_long_to_start_is_starting_and_not_blocked(node_with: Any) -> None:
    clock = ManualClock()
    async with node_with(echo) as node:
        watchdog = Watchdog(node, clock=clock)
        clock.turn(20)  # as while models load, before anybody runs the watchdog
        await node.become("starting")
        async with page_of(node, watchdog) as page:
            assert await get(page, "/readyz") == (503, "starting\n")


async def test_a_taken_port_is_a_settings_error(node_with: Any) -> None:
    async with node_with(echo) as node, page_of(node) as page:
        with pytest.raises(SettingsError, match="port"):
            OperatorPage(node, Watchdog(node), "127.0.0.1", page.port)


async def test_metrics_may_be_for_those_alone_whose_token_says_so(
    node_with: Callable[..., Any], tmp_path: Path
) -> None:
    class Doorkeeper(Access):
        def __init__(self) -> None:
            pass

        def reads_metrics(self, authorization: str) -> bool:
            return authorization == "Bearer good"

    async with node_with(echo) as node:
        page = OperatorPage(node, Watchdog(node), "127.0.0.1", 0, Doorkeeper())
        page.start()
        try:
            seen = {}
            for path in ("/metrics", "/livez", "/readyz"):
                for shown in ("Bearer good", "Bearer bad", ""):
                    headers = {"Authorization": shown} if shown else {}
                    request = urllib.request.Request(f"http://{page.address}{path}", None, headers)
                    try:
                        answer = await asyncio.to_thread(urllib.request.urlopen, request)
                        seen[path, shown] = answer.status, b"isthmus_ready" in answer.read()
                    except urllib.error.HTTPError as error:
                        seen[path, shown] = error.code, b"isthmus_ready" in error.read()
        finally:
            page.stop()
    assert seen["/metrics", "Bearer good"] == (200, True)
    assert seen["/metrics", "Bearer bad"] == seen["/metrics", ""] == (401, False)
    assert {seen[path, ""][0] for path in ("/livez", "/readyz")} == {200}
