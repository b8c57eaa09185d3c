import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.core.errors import EndpointUnavailable
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint

MakeEndpoint = Callable[..., Endpoint]
Fast = Callable[[Coroutine[Any, Any, Any]], Any]


def channel_of(endpoint: Endpoint) -> Any:
    """Return its `FollowedChannel`."""
    return endpoint.channel


@asynccontextmanager
async def directory() -> AsyncIterator[Directory]:
    made = Directory(random.Random(7))
    yield made
    await made.aclose()


async def test_it_follows_what_was_added_and_finds_it_by_name(make_endpoint: MakeEndpoint) -> None:
    async with directory() as here:
        endpoint = make_endpoint(up=False)
        here.add(endpoint)
        await here.first_news(5.0)
        assert endpoint.problem == ""
        assert here.find("edge-1") is endpoint
        assert here.find("edge-2") is None


async def test_what_was_removed_is_forgotten_no_more_followed_and_its_channel_closed(
    make_endpoint: MakeEndpoint,
) -> None:
    async with directory() as here:
        gone, stays = make_endpoint("gone"), make_endpoint("stays")
        here.add(gone)
        here.add(stays)
        await here.first_news(5.0)
        await here.remove("gone")
        assert here.endpoints == [stays]
        assert (channel_of(gone).closed, channel_of(stays).closed) == (True, False)
        assert (channel_of(gone).watched, channel_of(stays).watched) == (0, 1)


async def test_closing_it_leaves_no_task_behind(make_endpoint: MakeEndpoint) -> None:
    before = asyncio.all_tasks()
    async with directory() as here:
        for number in range(5):
            here.add(make_endpoint(f"edge-{number}"))
        await here.first_news(5.0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_first_news_waits_for_bad_news_too_and_not_for_ever(
    fast: Fast, make_endpoint: MakeEndpoint
) -> None:
    async def open_two() -> None:
        loop = asyncio.get_running_loop()
        async with directory() as here:
            missing = make_endpoint("missing", up=False)
            channel_of(missing).failure = EndpointUnavailable("no connection")
            here.add(missing)
            started = loop.time()
            await here.first_news(3.0)
            assert loop.time() == started
            here.add(stuck(make_endpoint("stuck", up=False)))
            await here.first_news(3.0)
            assert loop.time() == started + 3.0

    fast(open_two())


def stuck(endpoint: Endpoint) -> Endpoint:
    """Let the endpoint's node never answer."""

    class Never:
        async def describe(self) -> None:
            await asyncio.Event().wait()

        async def aclose(self) -> None:
            pass

    endpoint.channel = Never()  # type: ignore[assignment]
    return endpoint


async def test_first_news_of_nobody_comes_at_once() -> None:
    async with directory() as here:
        await asyncio.wait_for(here.first_news(1e6), 5)
