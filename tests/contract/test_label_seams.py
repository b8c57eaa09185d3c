"""What every part between a caller and its nodes owes to labels: caches, hedges, jobs, retries.

A part that is not built yet stands here as a fake that takes the same Call and gives the same
Result; when the real one comes, it joins `PARTS` and must pass the same tests.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from benchmarks.proofs import flows
from benchmarks.proofs.fleet import Fleet, running_fleet
from orchestrator.core import request
from orchestrator.core.call import Call, Reply, Result
from orchestrator.core.errors import EndpointUnavailable, PrivacyRefused, ServiceFailed
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from orchestrator.core.stepping import OnWait, nobody
from orchestrator.dispatch.interceptors import Interceptor, Next
from orchestrator.serving.node import Node
from orchestrator.wire.inprocess import InProcessChannel
from orchestrator.wire.payloads import Packed, pack, unpack
from policies.facts import PUBLIC, Clearance, Label, Level

SECRET = Label(Level.SECRET)
TEXT = "canary-19af"


class Cache:
    """Keeps answers by service and content, and, as a careless one would, not by label."""

    def __init__(self) -> None:
        self.answers: dict[Any, Result[Any]] = {}
        self.hits = 0

    async def __call__(self, call: Call, rest: Next) -> Result[Any]:
        content = [bare(value) for value in call.arguments.values()]
        key = (call.service, pack(content).json)
        if key in self.answers:
            self.hits += 1
            return self.answers[key]
        result = self.answers[key] = await rest(call)
        return result


async def hedge(call: Call, rest: Next) -> Result[Any]:
    """Ask twice, and take the answer that comes first."""
    tasks = [asyncio.create_task(rest(call)) for _ in range(2)]
    done, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()


async def job(call: Call, rest: Next) -> Result[Any]:
    """Put a call down as bytes, and run it from them later."""
    stored: Packed = pack(call.arguments)
    await asyncio.sleep(0)
    return await rest(call.unpacked_as(unpack(stored)))


async def nothing(call: Call, rest: Next) -> Result[Any]:
    """Pass a call on: the way as it is."""
    return await rest(call)


PARTS: dict[str, Callable[[], Interceptor]] = {
    "nothing": lambda: nothing,
    "cache": Cache,
    "hedge": lambda: hedge,
    "job": lambda: job,
}


class Seen:
    """A channel that notes what came to its node, and loses answers when told to."""

    def __init__(self, node: Node, clearance: Clearance) -> None:
        self._node = node
        self._channel = InProcessChannel(self, clearance)
        self.calls: list[Call] = []
        self.lost = 0
        self.describe, self.watch = self._channel.describe, self._channel.watch
        self.aclose, self.report, self.reports = self._channel.aclose, node.report, node.reports

    async def send(self, call: Call) -> Reply:
        reply = await self._channel.send(call)
        if self.lost:
            self.lost -= 1
            raise EndpointUnavailable("gone", sent=True)
        return reply

    async def handle(self, call: Call, on_wait: OnWait = nobody) -> Reply:
        self.calls.append(call)
        return await self._node.handle(call, on_wait)


class World:
    """A fleet with one part in its way, and what has come to each of its nodes."""

    def __init__(self, fleet: Fleet, channels: dict[str, Seen]) -> None:
        self.fleet = fleet
        self.channels = channels

    def came_to(self, name: str) -> list[str]:
        return [call.service for call in self.channels[name].calls]


@pytest.fixture(params=PARTS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    channels: dict[str, Seen] = {}

    def connect(node: Node, clearance: Clearance) -> Seen:
        channels[node.name] = Seen(node, clearance)
        return channels[node.name]

    async with running_fleet(flows.SERVICES, dict.fromkeys(("edge", "cloud"), connect)) as fleet:
        fleet.interceptors = [PARTS[request.param]()]
        await fleet.renew(1)
        flows.VAULT[0] = Secret(TEXT)
        yield World(fleet, channels)
        flows.VAULT.clear()


def bare(value: Any) -> Any:
    return value.reveal("a test") if isinstance(value, Labelled) else value


async def test_an_answer_is_as_private_as_what_was_asked_again_and_again(world: World) -> None:
    for envelope in (Secret(TEXT), Internal(TEXT), Sensitive(TEXT, "pii"), Secret(TEXT, "phi")):
        answer = await flows.mirror.aio(envelope)
        assert answer.label.covers(envelope.label)
        assert answer.reveal("a test") == TEXT


async def test_what_is_too_private_for_a_node_never_comes_to_it(world: World) -> None:
    await flows.mirror.aio(Internal(TEXT))
    for envelope in (Secret(TEXT), Sensitive(TEXT, "pii")):
        await flows.mirror.aio(envelope)
        await flows.anywhere.aio(envelope.with_value([TEXT]))
    labels = [call.label.level for call in world.channels["cloud"].calls]
    assert all(level <= Level.INTERNAL for level in labels)


async def test_a_repeat_after_a_lost_answer_keeps_the_label(world: World) -> None:
    await flows.anywhere.aio(Internal(["first"]))  # this one may go to the cloud
    world.channels["cloud"].lost = world.channels["edge"].lost = 1
    answer = await flows.anywhere.aio(Sensitive([TEXT]))
    assert answer.label == Label(Level.SENSITIVE)
    assert world.came_to("edge")[-1] == "anywhere"
    assert all(call.label.level <= Level.INTERNAL for call in world.channels["cloud"].calls)


async def test_the_floor_of_a_body_goes_with_its_calls(world: World) -> None:
    await flows.slip.aio(Secret(TEXT))
    for service in (flows.ask_and_tell, flows.slip_by_error):
        with pytest.raises((PrivacyRefused, ServiceFailed)):
            await service.aio(0)
    await flows.slip_later.aio(0)
    assert world.came_to("cloud") == []


async def test_a_public_call_beside_labelled_ones_stays_public(world: World) -> None:
    labelled = [service.aio(Secret(TEXT)) for service in (flows.mirror, flows.choke)]
    hello = flows.upload.aio("hello")
    found: Any = await asyncio.gather(labelled[0], hello, labelled[1], return_exceptions=True)
    assert found[1] == "hello"
    assert set(world.came_to("cloud")) == {"upload"}
    assert all(call.label == PUBLIC for call in world.channels["cloud"].calls)


async def test_an_error_shows_nothing_of_a_value(world: World) -> None:
    with pytest.raises(ServiceFailed) as failed:
        await flows.choke.aio(Secret(TEXT))
    assert TEXT not in f"{failed.value} {failed.value!r} {vars(failed.value)}"


async def test_a_declassified_answer_is_plain_and_every_use_counted(world: World) -> None:
    if not isinstance(world.fleet.interceptors[0], Cache):
        assert await flows.release.aio(Sensitive(TEXT)) == TEXT
    assert await flows.mask.aio(Secret(TEXT)) == "****"
    assert world.fleet.nodes["edge"].metrics.declassified["mask"] >= 1


async def test_a_careless_cache_is_found_out_where_answers_are_not_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request, "raised_to", lambda value, label: value)
    async with running_fleet(flows.SERVICES, {"edge": InProcessChannel}) as fleet:
        fleet.interceptors = [cache := Cache()]
        await fleet.renew(1)
        await flows.mirror.aio(Internal(TEXT))
        assert (await flows.mirror.aio(Secret(TEXT))).label == Label(Level.INTERNAL)
        assert cache.hits == 1
