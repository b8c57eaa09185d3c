"""What travels to a real node and back: large tensors, limits, streams."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from orchestrator import Orchestrator
from orchestrator.core.errors import CallError, InvalidInput

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until


@pytest.fixture(scope="module")
def edge(start_shared: "Start") -> "Daemon":
    return start_shared("edge")


async def test_a_tensor_of_64_mib_travels_there_and_back(edge: "Daemon", shop: ModuleType) -> None:
    numbers = np.arange(16 * 2**20, dtype=np.float32).reshape(4096, -1)
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        result = await shop.double.aio.call(numbers)
    assert result.value.shape == numbers.shape
    assert result.value.dtype == np.float32
    np.testing.assert_array_equal(result.value, numbers * 2)


async def test_four_large_tensors_at_once_are_not_mixed_up(
    edge: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        inputs = [np.full(2**21, n, np.float32) for n in range(4)]
        answers = await asyncio.gather(*(shop.double.aio(array) for array in inputs))
    assert [set(answer.tolist()) for answer in answers] == [{0.0}, {2.0}, {4.0}, {6.0}]


async def test_a_tensor_above_the_limit_is_refused_before_it_is_sent(
    edge: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        before = edge.metric('isthmus_requests_total{code="OK",service="double"}')
        with pytest.raises(InvalidInput, match=r"81.0 MiB .* 80 MiB .* raise max_call_mib"):
            await shop.double.aio(np.zeros(81 * 2**18, np.float32))
        assert edge.metric('isthmus_requests_total{code="OK",service="double"}') == before


async def test_a_tensor_above_the_nodes_own_limit_is_refused_with_the_cure(
    start: "Start", shop: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "node.yaml").write_text("max_call_mib: 1\n")
    small = start("edge", "--config", str(tmp_path / "node.yaml"))
    async with Orchestrator({"nodes": [small.entry()]}, app="shop"):
        with pytest.raises(InvalidInput, match="max_call_mib"):
            await shop.double.aio(np.zeros(2**21, np.float32))
        assert (await shop.add.aio.call(1, 2)).value == 3


async def test_a_result_above_the_callers_limit_blames_the_caller_and_not_the_node(
    edge: "Daemon", shop: ModuleType
) -> None:
    settings = {"nodes": [edge.entry()], "max_call_mib": 1}
    async with Orchestrator(settings, app="shop"):
        with pytest.raises(CallError, match=r"max_call_mib (here|on this side|on both sides)"):
            await shop.grow.aio(2**21)


async def test_a_stream_comes_in_order_and_says_where_it_ran(
    edge: "Daemon", shop: ModuleType
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        for service in (shop.ticks, shop.steps):
            stream = service.aio(5, 0.01)
            assert [number async for number in stream] == [0, 1, 2, 3, 4]
            assert stream.result.node == "edge-1"
            assert stream.result.timings.node_ms >= 50


async def test_values_of_a_stream_come_while_it_runs(edge: "Daemon", shop: ModuleType) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        stream = shop.ticks(1000, 0.05)
        first = await asyncio.wait_for(anext(stream), 5)
        await stream.aclose()
    assert first == 0


@pytest.mark.parametrize("name", ["ticks", "steps"])
async def test_a_stream_left_early_ends_in_the_node(
    name: str, edge: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        before = (await shop.closed.aio()).count(name)
        stream = getattr(shop, name).aio(100_000, 0.01)
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        assert edge.metric("isthmus_requests_in_progress") == 1
        await stream.aclose()
        await until(lambda: edge.metric("isthmus_requests_in_progress") == 0)
        for _ in range(200):
            if (await shop.closed.aio()).count(name) > before:
                return
            await asyncio.sleep(0.02)
    pytest.fail("the body's finally has not run")


async def test_a_stream_that_is_dropped_and_never_closed_ends_in_the_node_as_well(
    edge: "Daemon", shop: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        stream = shop.ticks(100_000, 0.01)
        await anext(stream)
        del stream
        await until(lambda: edge.metric("isthmus_requests_in_progress") == 0)


async def test_a_stream_whose_node_dies_breaks_with_an_error_and_is_not_begun_anew(
    start: "Start", shop: ModuleType
) -> None:
    edge, cloud = start("edge"), start("cloud")
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="shop"):
        stream = shop.ticks(100_000, 0.01)
        await anext(stream)
        node = max((edge, cloud), key=lambda d: d.metric("isthmus_requests_in_progress"))
        node.kill()
        with pytest.raises(CallError):
            async for _ in stream:
                pass
    other = cloud if node is edge else edge
    assert other.metric('isthmus_requests_total{code="OK",service="ticks"}') == 0


def test_a_plain_program_reads_a_stream_without_a_loop(edge: "Daemon", shop: ModuleType) -> None:
    with Orchestrator({"nodes": [edge.entry()]}, app="shop"):
        assert list(shop.steps(3, 0.0)) == [0, 1, 2]
        assert list(shop.ticks.sync(3, 0.0)) == [0, 1, 2]
        assert shop.add(2, 3) == 5
        assert list(shop.bake.map([0.0] * 5)) == [edge.process.pid] * 5
