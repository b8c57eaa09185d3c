import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    ServiceFailed,
)
from orchestrator.core.model import TensorSpec
from orchestrator.decorators import edge_service
from orchestrator.models.tensor import TensorModel
from orchestrator.testing import fake_model

CANARY = "canary-77aa"
MakeCall = Callable[..., Call]
raising: list[BaseException] = []


@edge_service(inline=True)
def fail() -> None:
    raise raising[0]


class Custom(Exception):
    pass


async def failure(node_with: Any, call: Call, error: BaseException) -> CallError:
    raising[:] = [error]
    async with node_with(fail) as node:
        with pytest.raises(CallError) as caught:
            await node.handle(call)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [KeyError(CANARY), Custom(CANARY), SystemExit(CANARY), OSError(2, CANARY), Overloaded(CANARY)],
)
async def test_a_failure_names_class_node_and_call_and_repeats_no_message(
    node_with: Any, call_of: MakeCall, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    caplog.set_level(logging.DEBUG)
    call = call_of(fail)
    got = await failure(node_with, call, error)
    assert isinstance(got, ServiceFailed)
    assert (got.exception, got.node, got.call_id) == (type(error).__name__, "node-1", call.id)
    assert CANARY not in str(got) + repr(got) + caplog.text
    assert got.__cause__ is error  # in process, for the developer


async def test_the_log_of_the_node_has_class_call_and_frames(
    node_with: Any, call_of: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    call = call_of(fail)
    await failure(node_with, call, Custom(CANARY))
    assert f"fail failed in call {call.id}: Custom at {__file__}:" in caplog.text


async def test_words_that_may_be_shared_are_kept(node_with: Any, call_of: MakeCall) -> None:
    got = await failure(node_with, call_of(fail), Overloaded("node-2 is full", shareable=True))
    assert str(got) == "Overloaded in fail: node-2 is full"
    assert got.shareable


async def test_time_that_is_up_in_a_nested_call_is_up_for_the_body_too(
    node_with: Any, call_of: MakeCall
) -> None:
    got = await failure(node_with, call_of(fail), DeadlineExceeded(CANARY))
    assert type(got) is DeadlineExceeded
    assert CANARY not in str(got)


async def test_bad_input_of_a_model_service_is_the_callers_fault_and_of_a_body_its_own(
    node_with: Any, call_of: MakeCall, tmp_path: Path
) -> None:
    fake_model(tmp_path, "tiny", [TensorSpec("x", "float32", ("n",))], [])
    service: Any = edge_service(TensorModel("tiny"))
    async with node_with(service, models={"tiny": lambda batch, stop: {}}) as node:
        with pytest.raises(InvalidInput, match="takes x, not nothing"):
            await node.handle(call_of(service, inputs={}))
    got = await failure(node_with, call_of(fail), InvalidInput("its own"))
    assert type(got) is ServiceFailed
