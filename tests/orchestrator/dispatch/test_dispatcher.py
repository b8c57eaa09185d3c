import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.errors import (
    AccessDenied,
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    ModelUnavailable,
    NoRoute,
    OutcomeUnknown,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
    WireError,
)
from orchestrator.resilience.retry import RetryBudget
from orchestrator.routing.endpoint import Endpoint
from orchestrator.testing import ManualClock
from policies.facts import Clearance, Label, Level, Placement

MakeFleet = Callable[..., Any]
MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]

NOT_SENT = EndpointUnavailable("no connection")
PERHAPS_SENT = EndpointUnavailable("went away", sent=True)


async def test_the_best_candidate_answers_and_the_result_says_how_it_came_about(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("b", "cloud", cost=9.0), make_endpoint("a", "edge", "hi"))
    call = make_call(Label(Level.INTERNAL))
    result = await fleet.dispatcher.invoke(call)
    assert (result.value, result.node, result.tier) == ("hi", "a", "edge")
    assert (result.label, result.call_id) == (call.label, call.id)
    assert result.attempts == ("a",)
    assert result.decision is fleet.router.decisions[0]
    assert result.total_ms >= 0


async def test_failover_walks_the_same_decision_in_its_order(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(
        make_endpoint("c", "edge", "hi", cost=3.0),
        make_endpoint("a", "edge", NOT_SENT, cost=1.0),
        make_endpoint("b", "cloud", Overloaded(), cost=2.0),
    )
    result = await fleet.dispatcher.invoke(make_call())
    assert result.attempts == ("a", "b", "c")
    assert fleet.router.decisions == [result.decision]
    assert [call.attempt for name in "abc" for call in fleet.calls(name)] == [1, 2, 3]


@pytest.mark.parametrize("error", [NOT_SENT, Overloaded(), ModelUnavailable(), NoRoute()])
async def test_a_call_that_certainly_did_not_run_goes_elsewhere(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall, error: CallError
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", error), make_endpoint("b", "cloud", "hi", cost=9))
    assert (await fleet.dispatcher.invoke(make_call())).value == "hi"


@pytest.mark.parametrize("error", [PERHAPS_SENT, WireError()])
async def test_a_call_that_may_have_run_goes_elsewhere_only_if_that_does_no_harm(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall, error: CallError
) -> None:
    def fleet() -> Any:
        return make_fleet(
            make_endpoint("a", "edge", error), make_endpoint("b", "cloud", "hi", cost=9)
        )

    assert (await fleet().dispatcher.invoke(make_call(idempotent=True))).value == "hi"
    careful = fleet()
    with pytest.raises(OutcomeUnknown, match="echo may have run, and was not declared") as caught:
        await careful.dispatcher.invoke(make_call())
    assert careful.sent == ["a"]
    assert (caught.value.node, caught.value.call_id) == ("a", make_call().id)


@pytest.mark.parametrize(
    "error", [InvalidInput(), ServiceFailed(), AccessDenied(), DeadlineExceeded(), PrivacyRefused()]
)
async def test_what_would_fail_elsewhere_too_is_told_at_once(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall, error: CallError
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", error), make_endpoint("b", "cloud", "hi", cost=9))
    with pytest.raises(type(error)) as caught:
        await fleet.dispatcher.invoke(make_call(idempotent=True))
    assert fleet.sent == ["a"]
    assert caught.value.call_id == make_call().id


async def test_without_budget_the_first_failure_is_the_answer(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    budget = RetryBudget(share=0.0, floor=0.0, most=0.0, clock=ManualClock())
    nodes = make_endpoint("a", "edge", NOT_SENT), make_endpoint("b", "cloud", "hi", cost=9)
    fleet = make_fleet(*nodes, budget=budget)
    with pytest.raises(EndpointUnavailable, match="no connection"):
        await fleet.dispatcher.invoke(make_call(idempotent=True))
    assert fleet.sent == ["a"]


async def test_calls_earn_the_retries_they_share(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    budget = RetryBudget(share=0.125, floor=0.0, clock=ManualClock())
    while budget.withdraw():
        pass
    gone = make_endpoint("a", "edge", *[Overloaded()] * 100)
    well = make_endpoint("b", "cloud", *["hi"] * 100, cost=9.0)
    fleet = make_fleet(gone, well, budget=budget)
    results = await asyncio.gather(
        *(fleet.dispatcher.invoke(make_call()) for _ in range(100)), return_exceptions=True
    )
    assert len(fleet.calls("a")) == 100
    assert sum(not isinstance(result, CallError) for result in results) == 12


async def test_when_every_node_fails_the_last_failure_is_told_after_three_rounds(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(
        make_endpoint("a", "edge", *[Overloaded("a is full")] * 9),
        make_endpoint("b", "cloud", *[Overloaded("b is full")] * 9, cost=9.0),
    )
    with pytest.raises(Overloaded, match="b is full") as caught:
        await fleet.dispatcher.invoke(make_call())
    assert fleet.sent == ["a", "b"] * 3
    assert caught.value.node == "b"


async def test_every_round_asks_for_a_new_decision(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    late = make_endpoint("late", "cloud", "hi", cost=9.0, up=False)

    async def fail(call: Call) -> Reply:
        late.saw_report(fleet.channel("late").report)
        raise NOT_SENT

    fleet = make_fleet(make_endpoint("a", "edge", fail), late)
    assert (await fleet.dispatcher.invoke(make_call())).attempts == ("a", "a", "late")


async def test_when_no_candidate_is_left_the_failure_says_more_than_that(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    secret = Label(Level.SECRET)
    edge = make_endpoint("edge-1", "edge")

    async def fall(call: Call) -> Reply:
        edge.saw_down("it is gone")
        raise EndpointUnavailable("connection reset")

    fleet = make_fleet(edge, make_endpoint("cloud-1", "cloud", clearance=Clearance()))
    fleet.channel("edge-1").script.append(fall)
    with pytest.raises(EndpointUnavailable, match="connection reset"):
        await fleet.dispatcher.invoke(make_call(secret))
    assert fleet.sent == ["edge-1"]


async def test_without_any_candidate_nothing_is_sent_and_the_reasons_are_told(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", "hi"))
    with pytest.raises(NoRoute, match="the call stays on the cloud") as caught:
        await fleet.dispatcher.invoke(make_call(placement=Placement("cloud")))
    assert caught.value.decision
    assert fleet.sent == []


async def test_an_endpoint_that_left_after_the_decision_is_passed_over(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    async def fail(call: Call) -> Reply:
        fleet.directory.standing.pop("b")
        raise NOT_SENT

    fleet = make_fleet(
        make_endpoint("a", "edge", fail),
        make_endpoint("b", "edge", "never", cost=2.0),
        make_endpoint("c", "cloud", "hi", cost=9.0),
    )
    assert (await fleet.dispatcher.invoke(make_call())).attempts == ("a", "c")


async def test_the_deadline_stands_over_all_attempts_together(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    left: list[float] = []

    async def slow(call: Call) -> Reply:
        left.append(call.deadline.left())
        await asyncio.sleep(0.06)
        raise NOT_SENT

    fleet = make_fleet(*(make_endpoint(name, "edge", slow) for name in "abcdef"))
    with pytest.raises(DeadlineExceeded) as caught:
        await fleet.dispatcher.invoke(make_call(seconds=0.15))
    assert caught.value.call_id == make_call().id
    assert 1 <= len(left) < 6
    assert left == sorted(left, reverse=True)
    assert all(endpoint.limiter.count == 0 for endpoint in fleet.directory.endpoints)


async def test_a_call_whose_time_is_up_is_told_so_and_not_that_no_node_would_do(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", "hi"))
    with pytest.raises(DeadlineExceeded):
        await fleet.dispatcher.invoke(make_call(seconds=-1.0))


async def test_a_cancelled_call_is_cancelled_at_the_node_and_never_repeated(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    reached, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(call: Call) -> Reply:
        reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    fleet = make_fleet(make_endpoint("a", "edge", hang), make_endpoint("b", "cloud", "hi", cost=9))
    task = asyncio.create_task(fleet.dispatcher.invoke(make_call(idempotent=True)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
    assert fleet.sent == ["a"]


def streaming(*values: Any) -> Callable[[Call], Coroutine[Any, Any, Reply]]:
    """Return a step of a script that streams values; an exception among them is raised."""

    async def chunks() -> AsyncGenerator[Any, None]:
        for value in values:
            if isinstance(value, BaseException):
                raise value
            yield value

    async def send(call: Call) -> Reply:
        return Reply(Chunks(chunks(), lambda: Timings(node_ms=3.0)))

    return send


async def read(chunks: Chunks, into: list[Any]) -> None:
    async for chunk in chunks:
        into.append(chunk)


async def test_a_stream_goes_elsewhere_until_its_first_value(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(
        make_endpoint("a", "edge", NOT_SENT),
        make_endpoint("b", "edge", streaming(Overloaded()), cost=2.0),
        make_endpoint("c", "cloud", streaming(1, 2, 3), cost=3.0),
    )
    result = await fleet.dispatcher.invoke(make_call(stream=True))
    values: list[Any] = []
    await read(result.value, values)
    assert (values, result.attempts) == ([1, 2, 3], ("a", "b", "c"))
    assert result.value.timings.node_ms == 3.0


async def test_a_stream_is_never_repeated_after_its_first_value(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(
        make_endpoint("a", "edge", streaming(1, 2, EndpointUnavailable("gone"))),
        make_endpoint("b", "cloud", streaming(1, 2, 3), cost=9.0),
    )
    result = await fleet.dispatcher.invoke(make_call(stream=True, idempotent=True))
    values: list[Any] = []
    with pytest.raises(EndpointUnavailable, match="gone"):
        await read(result.value, values)
    assert values == [1, 2]
    assert fleet.sent == ["a"]


async def test_a_stream_that_may_have_begun_is_not_repeated_unless_that_does_no_harm(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", streaming(PERHAPS_SENT)))
    with pytest.raises(OutcomeUnknown):
        await fleet.dispatcher.invoke(make_call(stream=True))


async def test_a_stream_without_values_is_a_stream(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", streaming()))
    values: list[Any] = []
    await read((await fleet.dispatcher.invoke(make_call(stream=True))).value, values)
    assert values == []
    assert fleet.directory.standing["a"].limiter.count == 0


async def test_a_stream_that_is_left_early_gives_its_place_back(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", streaming(1, 2, 3)))
    result = await fleet.dispatcher.invoke(make_call(stream=True))
    assert await anext(result.value) == 1
    assert fleet.directory.standing["a"].limiter.count == 1
    await result.value.aclose()
    assert fleet.directory.standing["a"].limiter.count == 0


async def test_a_stream_that_is_left_before_it_was_read_gives_its_place_back(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", streaming(1, 2, 3)))
    result = await fleet.dispatcher.invoke(make_call(stream=True))
    await result.value.aclose()
    assert fleet.directory.standing["a"].limiter.count == 0


async def test_a_node_that_lets_every_call_run_out_of_time_is_left_for_another_in_the_end(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    async def hang(call: Call) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    black_hole = make_endpoint("a", "edge", *[hang] * 12)  # its reports come, its answers do not
    fleet = make_fleet(black_hole, make_endpoint("b", "cloud", *["hi"] * 12, cost=5.0))
    for _ in range(12):
        with suppress(DeadlineExceeded):
            await fleet.dispatcher.invoke(make_call(seconds=0.02, idempotent=True))
    assert fleet.calls("b")


async def test_calls_are_logged_by_id_name_and_node_and_never_with_what_they_carry(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    make_call: MakeCall,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failure = ServiceFailed("alice@example.com is wrong", node="a")
    fleet = make_fleet(make_endpoint("a", "edge", "secret answer", failure))
    call = make_call(text="bob@example.com")
    with caplog.at_level(logging.DEBUG, "isthmus.caller"):
        await fleet.dispatcher.invoke(call)
        with pytest.raises(ServiceFailed):
            await fleet.dispatcher.invoke(call)
    ran, failed = caplog.messages
    assert ran.startswith("echo call 0123456789abcdef ran on a in ")
    assert failed == "echo call 0123456789abcdef: SERVICE_FAILED (a)"
    assert "example.com" not in caplog.text
    assert "secret answer" not in caplog.text
