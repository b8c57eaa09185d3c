import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.errors import (
    CallError,
    CircuitOpen,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
)
from orchestrator.core.report import NodeReport
from orchestrator.routing.endpoint import Endpoint
from orchestrator.testing import ManualClock, ScriptedChannel
from policies.catalog import build_chain
from policies.facts import CallFacts, Clearance, Label, Level, Placement

MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]
MakeReport = Callable[..., NodeReport]


async def fail(endpoint: Endpoint, call: Call, times: int) -> None:
    for _ in range(times):
        with suppress(CallError):
            await endpoint.send(call, 10)


def channel_of(endpoint: Endpoint) -> ScriptedChannel:
    assert isinstance(endpoint.channel, ScriptedChannel)
    return endpoint.channel


def test_a_node_that_was_never_heard_of_takes_no_calls(make_endpoint: MakeEndpoint) -> None:
    facts = make_endpoint(up=False).facts("echo")
    assert (facts.ready, facts.reason) == (False, "no report from it yet")


def test_a_report_makes_it_ready_and_bad_news_undo_that(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    assert endpoint.facts("echo").ready
    endpoint.saw_down("it is gone")
    assert endpoint.facts("echo").reason == "it is gone"
    endpoint.saw_report(channel_of(endpoint).report)
    assert endpoint.problem == ""


@pytest.mark.parametrize("state", ["starting", "draining", "blocked"])
def test_only_a_ready_node_takes_calls(
    make_endpoint: MakeEndpoint, make_report: MakeReport, state: str
) -> None:
    endpoint = make_endpoint()
    endpoint.saw_report(make_report(state=state))
    assert endpoint.problem == f"it is {state}"


def test_a_node_of_another_tier_than_the_settings_say_takes_no_calls(
    make_endpoint: MakeEndpoint, make_report: MakeReport
) -> None:
    endpoint = make_endpoint("cloud-1", "cloud")
    endpoint.saw_report(make_report("edge"))
    assert "it is a node of tier edge, the settings say cloud" in endpoint.problem


def test_a_service_that_it_does_not_report_has_no_version(make_endpoint: MakeEndpoint) -> None:
    assert make_endpoint().facts("echo").version == "v1"
    assert make_endpoint().facts("other").version is None


def test_a_node_may_ask_for_less_than_the_settings_allow_and_never_get_more(
    make_endpoint: MakeEndpoint, make_report: MakeReport
) -> None:
    cautious = make_endpoint(clearance=Clearance(Level.SENSITIVE))
    cautious.saw_report(make_report(clearance=Clearance(Level.INTERNAL)))
    assert cautious.facts("echo").clearance == Clearance(Level.INTERNAL)
    greedy = make_endpoint(clearance=Clearance(Level.INTERNAL))
    greedy.saw_report(make_report(clearance=Clearance(Level.SECRET)))
    assert greedy.facts("echo").clearance == Clearance(Level.INTERNAL)


async def test_it_learns_the_service_time_from_replies_and_until_then_believes_the_node(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    async def answer(call: Call) -> Reply:
        return Reply("hi", Timings(node_ms=40.0, service_ms=40.0, waiting=6))

    endpoint = make_endpoint(script=[answer])
    assert endpoint.facts("echo").service_ms == 5.0
    await endpoint.send(make_call(), 10)
    facts = endpoint.facts("echo")
    assert (facts.service_ms, facts.waiting) == (40.0, 6)


async def test_failures_in_a_row_open_the_circuit_and_nothing_more_is_sent(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    endpoint = make_endpoint(script=[EndpointUnavailable("gone")] * 3 + ["hi"])
    await fail(endpoint, make_call(), 3)
    assert endpoint.facts("echo").circuit_open
    with pytest.raises(CircuitOpen, match="edge-1 failed repeatedly"):
        await endpoint.send(make_call(), 10)
    assert len(channel_of(endpoint).sent) == 3


@pytest.mark.parametrize("error", [ServiceFailed(), Overloaded(), InvalidInput()])
async def test_an_answer_that_is_no_result_does_not_open_the_circuit(
    make_endpoint: MakeEndpoint, make_call: MakeCall, error: CallError
) -> None:
    endpoint = make_endpoint(script=[error] * 10)
    await fail(endpoint, make_call(), 10)
    assert not endpoint.facts("echo").circuit_open


async def test_news_of_a_node_that_was_down_let_a_trial_pass_at_once(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    endpoint = make_endpoint(script=[EndpointUnavailable("gone")] * 3 + ["hi"])
    await fail(endpoint, make_call(), 3)
    endpoint.saw_down("its reports ended")
    endpoint.saw_report(channel_of(endpoint).report)
    assert (await endpoint.send(make_call(), 10)).value == "hi"
    assert not endpoint.facts("echo").circuit_open


async def test_an_error_names_the_node_it_came_from(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    with pytest.raises(ServiceFailed) as caught:
        await make_endpoint(script=[ServiceFailed()]).send(make_call(), 10)
    assert caught.value.node == "edge-1"


async def test_a_call_that_is_cancelled_gives_its_place_back_and_counts_for_nothing(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    reached = asyncio.Event()

    async def hang(call: Call) -> Reply:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    endpoint = make_endpoint(script=[hang] * 5)
    for _ in range(5):
        reached.clear()
        task = asyncio.create_task(endpoint.send(make_call(), 10))
        await reached.wait()
        assert endpoint.facts("echo").in_flight == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert endpoint.facts("echo").in_flight == 0
    assert not endpoint.facts("echo").circuit_open


@pytest.mark.parametrize("refused", [PrivacyRefused, InvalidInput])
async def test_a_call_that_never_left_says_nothing_of_the_node(
    make_endpoint: MakeEndpoint, make_call: MakeCall, refused: type[CallError]
) -> None:
    clock = ManualClock()
    endpoint = make_endpoint(
        clearance=Clearance(), script=[EndpointUnavailable("gone")] * 4, clock=clock
    )
    await fail(endpoint, make_call(), 3)
    clock.turn(1.0)
    kept = make_call(Label(Level.SECRET)) if refused is PrivacyRefused else make_call(text=object())
    with pytest.raises(refused):
        await endpoint.send(kept, 10)
    await fail(endpoint, make_call(), 1)  # the trial
    assert endpoint.facts("echo").circuit_open


async def test_a_node_that_lets_calls_run_into_their_deadline_does_not_close_its_circuit(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    clock = ManualClock()
    gone = [EndpointUnavailable("gone")] * 3
    no_answer = DeadlineExceeded("edge-1: DEADLINE_EXCEEDED")  # gRPC's word, from this side
    endpoint = make_endpoint(script=[*gone, no_answer, *gone], clock=clock)
    await fail(endpoint, make_call(), 3)
    clock.turn(1.0)
    await fail(endpoint, make_call(), 2)
    assert endpoint.facts("echo").circuit_open


def streaming(log: list[str], *values: Any) -> Callable[[Call], Coroutine[Any, Any, Reply]]:
    """Return a step of a script that streams values; an exception among them is raised."""

    async def chunks() -> AsyncGenerator[Any, None]:
        try:
            for value in values:
                if isinstance(value, BaseException):
                    raise value
                yield value
        finally:
            log.append("closed")

    async def send(call: Call) -> Reply:
        log.append("sent")
        return Reply(Chunks(chunks(), lambda: Timings(node_ms=3.0)))

    return send


async def test_a_stream_starts_with_its_first_value_and_holds_a_place_until_its_end(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    log: list[str] = []
    endpoint = make_endpoint(script=[streaming(log, 1, 2)])
    chunks: Chunks = (await endpoint.send(make_call(stream=True), 10)).value
    assert (log, endpoint.limiter.count) == ([], 0)
    assert await anext(chunks) == 1
    assert endpoint.limiter.count == 1
    assert [value async for value in chunks] == [2]
    assert (log, endpoint.limiter.count) == (["sent", "closed"], 0)
    assert chunks.timings.node_ms == 3.0


async def test_a_stream_that_is_left_early_is_closed_and_gives_its_place_back(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    log: list[str] = []
    endpoint = make_endpoint(script=[streaming(log, 1, 2)])
    chunks: Chunks = (await endpoint.send(make_call(stream=True), 10)).value
    await anext(chunks)
    await chunks.aclose()
    assert (log, endpoint.limiter.count) == (["sent", "closed"], 0)


async def test_a_stream_that_breaks_counts_against_the_node(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    broken = streaming([], 1, EndpointUnavailable("gone", sent=True))
    endpoint = make_endpoint(script=[broken] * 3)
    for _ in range(3):
        chunks: Chunks = (await endpoint.send(make_call(stream=True), 10)).value
        with pytest.raises(EndpointUnavailable):
            [value async for value in chunks]
    assert endpoint.facts("echo").circuit_open


async def test_a_stream_has_timings_of_zero_before_its_end(
    make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    endpoint = make_endpoint(script=[streaming([], 1)])
    chunks: Chunks = (await endpoint.send(make_call(stream=True), 10)).value
    await anext(chunks)
    assert chunks.timings == Timings()


async def test_a_slow_endpoint_is_tried_again_after_some_half_lives(
    make_endpoint: MakeEndpoint,
) -> None:
    clock = ManualClock()
    slow, steady = make_endpoint("slow", clock=clock), make_endpoint("steady", clock=clock)

    def answered(endpoint: Endpoint, ms: float) -> None:
        endpoint.stats.saw_reply("echo", ms, 10, Timings(node_ms=ms, service_ms=ms))

    def first() -> str:
        facts = CallFacts("echo", "v1", Label(), Placement("edge"), 10, 1000.0)
        decision = build_chain().decide(facts, [slow.facts("echo"), steady.facts("echo")])
        return decision.candidates[0].name

    answered(slow, 900.0)
    answered(steady, 20.0)
    assert first() == "steady"
    for _ in range(8):
        clock.turn(30.0)
        answered(steady, 20.0)
    assert first() == "slow"
