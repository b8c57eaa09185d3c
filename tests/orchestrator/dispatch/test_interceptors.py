from collections.abc import Callable
from typing import Any

from orchestrator.core.call import Call, Result, Timings
from orchestrator.dispatch.interceptors import Interceptor, Next, wrap
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
