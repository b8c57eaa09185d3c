"""A real model in its two forms, on two real nodes."""

import asyncio
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from orchestrator import Orchestrator, Sensitive

if TYPE_CHECKING:
    from tests.e2e.conftest import Daemon, Start, Until

TEXTS = ["My parcel is late.", "Where is my package?", "Please cancel my subscription."]


@pytest.fixture(scope="module")
def search(apps: None) -> ModuleType:
    return import_module("search")


@pytest.fixture(scope="module")
def edge(start_shared: "Start", minilm_store: Path) -> "Daemon":
    return start_shared("edge", "--models", str(minilm_store), app="search")


@pytest.fixture(scope="module")
def cloud(start_shared: "Start", minilm_store: Path) -> "Daemon":
    return start_shared("cloud", "--models", str(minilm_store), app="search")


async def test_both_forms_of_the_model_give_the_same_vectors(
    edge: "Daemon", cloud: "Daemon", search: ModuleType
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="search"):
        there = [await search.embed.options(tier=t).call(TEXTS) for t in ("edge", "cloud")]
    assert [result.tier for result in there] == ["edge", "cloud"]
    np.testing.assert_allclose(there[0].value, there[1].value, atol=1e-4)
    parcel, package, cancel = there[0].value
    assert parcel @ package > parcel @ cancel


async def test_private_text_is_embedded_at_the_edge_and_its_vectors_keep_the_label(
    edge: "Daemon", cloud: "Daemon", search: ModuleType
) -> None:
    async with Orchestrator({"nodes": [edge.entry(), cloud.entry()]}, app="search"):
        result = await search.embed_private.call(Sensitive(TEXTS, "pii"))
    assert result.tier == "edge"
    assert str(result.value.label) == "sensitive{pii}"
    assert result.value.reveal("a test").shape == (3, 384)


async def test_calls_of_many_callers_share_batches(edge: "Daemon", search: ModuleType) -> None:
    batches = edge.metric('isthmus_batches_total{model="minilm"}')
    rows = edge.metric('isthmus_batch_rows_total{model="minilm"}')
    async with Orchestrator({"nodes": [edge.entry()]}, app="search"):
        alone = await search.embed([TEXTS[0]])
        many = await asyncio.gather(*(search.embed([TEXTS[0]]) for _ in range(40)))
    for vectors in many:
        np.testing.assert_allclose(vectors, alone, atol=1e-5)
    ran = edge.metric('isthmus_batches_total{model="minilm"}') - batches
    assert edge.metric('isthmus_batch_rows_total{model="minilm"}') - rows == 41
    assert ran < 30


async def test_a_running_model_is_left_when_its_only_caller_leaves(
    edge: "Daemon", search: ModuleType, until: "Until"
) -> None:
    async with Orchestrator({"nodes": [edge.entry()]}, app="search"):
        calls = [asyncio.create_task(search.embed(["word " * 400] * 64)) for _ in range(4)]
        await until(lambda: edge.metric("isthmus_requests_in_progress") == 4)
        for call in calls:
            call.cancel()
        await until(lambda: edge.metric("isthmus_requests_in_progress") == 0, "empty node", 5)
        assert edge.metric('isthmus_queue_depth{model="minilm"}') == 0
        assert (await search.embed.call([TEXTS[0]])).node == "edge-1"
