import logging
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.call import Call, Result, Timings
from orchestrator.core.errors import ServiceFailed
from orchestrator.dispatch.interceptors import Interceptor, Next, log_calls, wrap
from policies.facts import CallFacts, Decision

MakeCall = Callable[..., Call]


async def innermost(call: Call) -> Result[Any]:
    facts = CallFacts(call.service, call.version, call.label, call.placement, 0, 0.0)
    return Result(
        value="secret answer",
        tier="edge",
        node="edge-1",
        label=call.label,
        decision=Decision(facts, (), ()),
        timings=Timings(),
        total_ms=1.0,
        attempts=("edge-1",),
        call_id=call.id,
    )


def noting(name: str, log: list[str]) -> Interceptor:
    async def interceptor(call: Call, rest: Next) -> Result[Any]:
        log.append(f"{name} in")
        result = await rest(call)
        log.append(f"{name} out")
        return result

    return interceptor


async def test_the_first_interceptor_is_the_outermost(make_call: MakeCall) -> None:
    log: list[str] = []
    result = await wrap(innermost, [noting("a", log), noting("b", log)])(make_call())
    assert result.node == "edge-1"
    assert log == ["a in", "b in", "b out", "a out"]


async def test_without_interceptors_the_call_goes_straight_through(make_call: MakeCall) -> None:
    assert (await wrap(innermost, [])(make_call())).value == "secret answer"


async def test_an_interceptor_may_answer_by_itself(make_call: MakeCall) -> None:
    async def never(call: Call) -> Result[Any]:
        raise AssertionError

    async def answering(call: Call, rest: Next) -> Result[Any]:
        return await innermost(call)

    assert (await wrap(never, [answering])(make_call())).node == "edge-1"


async def test_calls_are_logged_by_id_name_and_node_and_never_with_what_they_carry(
    make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(call: Call) -> Result[Any]:
        raise ServiceFailed("alice@example.com is wrong", node="edge-1")

    with caplog.at_level(logging.DEBUG, "isthmus.caller"):
        await wrap(innermost, [log_calls])(make_call(text="bob@example.com"))
        with pytest.raises(ServiceFailed):
            await wrap(failing, [log_calls])(make_call(text="bob@example.com"))
    ran, failed = caplog.messages
    assert ran == "echo call 0123456789abcdef ran on edge-1 in 1.0 ms"
    assert failed == "echo call 0123456789abcdef: SERVICE_FAILED (edge-1)"
    assert "example.com" not in caplog.text
    assert "secret answer" not in caplog.text
