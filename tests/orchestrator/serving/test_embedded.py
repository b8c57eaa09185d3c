from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.apps import declarations_of
from orchestrator.core.call import Call
from orchestrator.core.errors import ModelUnavailable, PrivacyRefused
from orchestrator.core.home import Home
from orchestrator.core.labels import Secret
from orchestrator.core.running import node_here
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.embedded import embedded_nodes
from policies.facts import Label, Level

MakeCall = Callable[..., Call]


@edge_service(overflow="cloud")
async def where(text: Secret[str]) -> Secret[str]:
    return text.with_value(node_here("a test").tier)


@cloud_service(models=[TensorModel("missing")])
async def needs_a_model() -> None: ...


class Nobody:
    """Takes no calls."""

    home: Home


async def test_an_edge_and_a_cloud_run_in_this_process_each_with_its_clearance(
    tmp_path: Path, call_of: MakeCall
) -> None:
    caller: Any = Nobody()
    async with embedded_nodes(declarations_of([where]), tmp_path, caller) as nodes:
        assert [(node.tier, node.state, str(node.clearance)) for node in nodes] == [
            ("edge", "ready", "secret"),
            ("cloud", "ready", "internal"),
        ]
        private = call_of(where, Label(Level.SECRET), text=Secret("x"))
        reply = await nodes[0].handle(private)
        assert reply.value.reveal("a test") == "edge"
        with pytest.raises(PrivacyRefused):
            await nodes[1].handle(private)
    for node in nodes:
        assert [report async for report in node.reports(60)] == []


async def test_a_missing_model_is_named_before_anything_is_served(tmp_path: Path) -> None:
    caller: Any = Nobody()
    with pytest.raises(ModelUnavailable, match="isthmus models add missing"):
        async with embedded_nodes(declarations_of([needs_a_model]), tmp_path, caller):
            pass
