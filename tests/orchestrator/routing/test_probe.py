import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

from orchestrator.core.errors import EndpointUnavailable
from orchestrator.core.report import NodeReport
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.probe import INTERVAL, Probe

MakeEndpoint = Callable[..., Endpoint]
MakeReport = Callable[..., NodeReport]
Fast = Callable[[Coroutine[Any, Any, Any]], Any]


def channel_of(endpoint: Endpoint) -> Any:
    """Return its `FollowedChannel`."""
    return endpoint.channel


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Following:
    """Follows an endpoint while the block runs."""

    def __init__(self, endpoint: Endpoint, source: random.Random | None = None) -> None:
        self.channel = channel_of(endpoint)
        self.probe = Probe(endpoint, source or random.Random(7))

    async def __aenter__(self) -> "Following":
        self.task = asyncio.create_task(self.probe.follow())
        await turns()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_a_node_that_answers_is_ready_before_its_first_report_comes(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint(up=False)
        async with Following(endpoint) as following:
            assert following.probe.first_news.is_set()
            assert endpoint.problem == ""

    fast(follow())


def test_a_node_that_cannot_be_reached_is_known_to_be_missing_and_why(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint(up=False)
        channel_of(endpoint).failure = EndpointUnavailable("no connection to here")
        async with Following(endpoint) as following:
            assert following.probe.first_news.is_set()
            assert endpoint.problem == "no connection to here"

    fast(follow())


def test_every_report_is_taken_at_once(
    fast: Fast, make_endpoint: MakeEndpoint, make_report: MakeReport
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint()
        async with Following(endpoint) as following:
            following.channel.news.put_nowait(make_report(state="draining", waiting=9))
            await turns()
            assert endpoint.problem == "it is draining"
            assert endpoint.facts("echo").waiting == 9

    fast(follow())


def test_a_node_whose_reports_end_is_gone_and_comes_back_with_its_next_answer(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint()
        async with Following(endpoint) as following:
            following.channel.news.put_nowait(None)
            await turns()
            assert endpoint.problem == "its reports ended"
            await asyncio.sleep(1.0)
            assert endpoint.problem == ""
            assert following.channel.watched == 1

    fast(follow())


def test_a_node_that_reports_in_time_stays_ready(
    fast: Fast, make_endpoint: MakeEndpoint, make_report: MakeReport
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint()
        async with Following(endpoint) as following:
            for _ in range(50):
                await asyncio.sleep(INTERVAL)
                following.channel.news.put_nowait(make_report())
                assert endpoint.problem == ""

    fast(follow())


def test_a_silent_node_counts_as_gone_and_is_asked_again(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint()
        async with Following(endpoint) as following:
            following.channel.failure = EndpointUnavailable("no answer")
            await asyncio.sleep(6 * INTERVAL)
            assert endpoint.problem, "nobody noticed"
            following.channel.failure = None
            await asyncio.sleep(3.0)
            assert endpoint.problem == ""

    fast(follow())


def test_a_callers_loop_that_stood_still_does_not_make_a_node_look_gone(
    fast: Fast, make_endpoint: MakeEndpoint, make_report: MakeReport
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint()
        async with Following(endpoint) as following:
            loop: Any = asyncio.get_running_loop()
            for _ in range(5):
                following.channel.news.put_nowait(make_report())  # it came while the loop slept
                loop.stand_still(60.0)
                await turns()
                assert endpoint.problem == ""

    fast(follow())


def test_reconnects_wait_longer_and_longer_with_jitter_and_two_seconds_at_most(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> list[float]:
        endpoint = make_endpoint(up=False)
        channel_of(endpoint).failure = EndpointUnavailable("gone")
        async with Following(endpoint, random.Random(1)) as following:
            await asyncio.sleep(60.0)
            asked: list[float] = following.channel.asked
        return [later - earlier for earlier, later in itertools.pairwise(asked)]

    waits = fast(follow())
    assert 0.1 <= waits[0] <= 0.2
    assert all(1.0 <= wait <= 2.0 for wait in waits[4:])
    assert len({round(wait, 6) for wait in waits[4:]}) > 10


def test_callers_do_not_come_back_all_at_once(fast: Fast, make_endpoint: MakeEndpoint) -> None:
    async def follow(seed: int) -> float:
        endpoint = make_endpoint()
        async with Following(endpoint, random.Random(seed)) as following:
            following.channel.news.put_nowait(None)
            await asyncio.sleep(1.0)
            return round(float(following.channel.asked[1]), 6)

    assert len({fast(follow(seed)) for seed in range(20)}) > 15


def test_the_round_trip_is_measured_again_and_again(
    fast: Fast, make_endpoint: MakeEndpoint, make_report: MakeReport
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint()
        async with Following(endpoint) as following:
            for _ in range(12):
                following.channel.news.put_nowait(make_report())
                await turns()
            assert len(following.channel.asked) >= 4

    fast(follow())


def test_a_probe_that_is_stopped_leaves_no_watch_open(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        async with Following(make_endpoint()) as following:
            assert following.channel.watched == 1
        await turns()
        assert following.channel.watched == 0

    fast(follow())


class AtOnce(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.0


def test_a_node_that_was_away_for_hours_is_found_again(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint(up=False)
        channel_of(endpoint).failure = EndpointUnavailable("gone")
        async with Following(endpoint, AtOnce()) as following:
            while len(following.channel.asked) < 1500 and not following.task.done():
                await turns()
            channel_of(endpoint).failure = None
            await turns()
            assert endpoint.problem == ""

    fast(follow())


def test_an_unforeseen_fault_of_the_channel_does_not_end_the_following(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def follow() -> None:
        endpoint = make_endpoint(up=False)
        channel_of(endpoint).failure = RuntimeError("a fault in the transport")
        async with Following(endpoint):
            channel_of(endpoint).failure = None
            await asyncio.sleep(3.0)
            assert endpoint.problem == ""

    fast(follow())
