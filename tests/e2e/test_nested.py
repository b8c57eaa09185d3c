"""Calls that bodies make: where they go, and that no label is lost on the way."""

import json
import time
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import Orchestrator, Sensitive
from orchestrator.core.errors import DeadlineExceeded, ServiceFailed

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start

Pair = tuple["Daemon", "Daemon"]

KEPT = 'isthmus_requests_total{code="OK",service="keep"}'


@pytest.fixture(scope="module")
def company(apps: None) -> ModuleType:
    return import_module("company")


@pytest.fixture(scope="module")
def pair(start_shared: "Start", tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """An edge node whose app names an orchestrator that knows the cloud node."""
    folder = tmp_path_factory.mktemp("company")
    cloud = start_shared("cloud", app="company")
    # JSON is YAML.
    (folder / "isthmus.yaml").write_text(json.dumps({"nodes": [cloud.entry()]}))
    edge = start_shared("edge", app="company:headquarters", folder=folder)
    return edge, cloud


@pytest.fixture
def settings(pair: Pair) -> dict[str, Any]:
    """The caller knows the edge node only."""
    return {"nodes": [pair[0].entry()]}


@pytest.mark.parametrize("name", ["ask", "ask_in_a_thread"])
async def test_a_body_on_the_edge_calls_a_service_of_the_cloud(
    name: str, pair: Pair, settings: dict[str, Any], company: ModuleType
) -> None:
    edge, cloud = pair
    async with Orchestrator(settings, app="company"):
        result = await getattr(company, name).aio.call("kettle")
    assert result.node == "edge-1"
    assert result.value == cloud.process.pid != edge.process.pid


@pytest.mark.parametrize(
    "name",
    ["slip", "slip_in_a_thread", "slip_in_a_task", "slip_by_to_thread", "slip_by_an_executor"],
)
async def test_a_value_opened_in_a_body_cannot_slip_into_a_call_to_the_cloud(
    name: str, pair: Pair, settings: dict[str, Any], company: ModuleType
) -> None:
    kept = pair[1].metric(KEPT)
    async with Orchestrator(settings, app="company"):
        with pytest.raises(ServiceFailed) as caught:
            await getattr(company, name).aio(Sensitive("Ada Adler", "pii"))
    assert caught.value.exception == "PrivacyRefused"
    assert pair[1].metric(KEPT) == kept


@pytest.mark.parametrize("name", ["slip_in_a_stream", "slip_in_a_blocking_stream"])
async def test_a_value_opened_in_a_stream_cannot_slip_out_between_its_values(
    name: str, pair: Pair, settings: dict[str, Any], company: ModuleType
) -> None:
    kept = pair[1].metric(KEPT)
    async with Orchestrator(settings, app="company"):
        stream = getattr(company, name).aio(Sensitive("Ada Adler", "pii"))
        assert (await anext(stream)).reveal("a test") == 0
        with pytest.raises(ServiceFailed) as caught:
            await anext(stream)
    assert caught.value.exception == "PrivacyRefused"
    assert pair[1].metric(KEPT) == kept


async def test_a_thread_that_a_body_starts_by_hand_cannot_send_anything_out_either(
    pair: Pair, settings: dict[str, Any], company: ModuleType
) -> None:
    kept = pair[1].metric(KEPT)
    async with Orchestrator(settings, app="company"):
        end = await company.slip_by_a_thread_of_its_own.aio(Sensitive("Ada Adler", "pii"))
    assert end.reveal("a test") == "PrivacyRefused"
    assert pair[1].metric(KEPT) == kept


async def test_a_declassifier_may_send_on_what_it_has_cleaned(
    pair: Pair, settings: dict[str, Any], company: ModuleType
) -> None:
    async with Orchestrator(settings, app="company"):
        assert await company.clean.aio(Sensitive("Ada Adler", "pii")) == pair[1].process.pid


async def test_a_nested_call_ends_with_the_deadline_of_the_call_around_it(
    pair: Pair, settings: dict[str, Any], company: ModuleType
) -> None:
    began = time.monotonic()
    async with Orchestrator(settings, app="company"):
        with pytest.raises(DeadlineExceeded):
            await company.ask_slowly.options(deadline="1s")("x")
    assert time.monotonic() - began < 10
    pair[1].wait_for(lambda: pair[1].metric("isthmus_requests_in_progress") == 0, "empty cloud")


async def test_without_an_orchestrator_a_node_runs_nested_calls_of_its_own_tier(
    start: "Start", company: ModuleType
) -> None:
    lonely = start("edge", app="company")
    async with Orchestrator({"nodes": [lonely.entry()]}, app="company"):
        assert await company.ask_here("kettle") == 6


async def test_without_an_orchestrator_a_nested_call_to_the_other_tier_goes_nowhere(
    start: "Start", company: ModuleType
) -> None:
    lonely = start("edge", app="company")
    async with Orchestrator({"nodes": [lonely.entry()]}, app="company"):
        with pytest.raises(ServiceFailed) as caught:
            await company.ask("kettle")
    assert caught.value.exception == "NoRoute"


async def test_without_an_orchestrator_a_nested_call_to_the_other_tier_names_the_flag(
    start: "Start", company: ModuleType
) -> None:
    lonely = start("edge", app="company")
    async with Orchestrator({"nodes": [lonely.entry()]}, app="company"):
        with pytest.raises(ServiceFailed) as caught:
            await company.ask("kettle")
    assert "--app module:attribute" in str(caught.value) + lonely.output
