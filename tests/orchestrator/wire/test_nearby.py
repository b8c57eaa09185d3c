import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import DeadlineExceeded, EndpointUnavailable
from orchestrator.core.report import NodeReport
from orchestrator.decorators import edge_service
from orchestrator.serving.server import Binding
from orchestrator.testing import ManualClock, listening, running_node
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.nearby import NearbyLink
from orchestrator.wire.socketstream import SocketStream, machine
from policies.facts import Clearance, Level

MakeCall = Callable[..., Call]
SECRET = Clearance(Level.SECRET)


@edge_service(inline=True)
def mirror(array: np.ndarray) -> np.ndarray:
    return array


@edge_service
async def fail(array: np.ndarray) -> None:
    raise KeyError(len(array))


@edge_service
def fail_in_a_slot(array: np.ndarray) -> None:
    raise KeyError(len(array))


@edge_service
async def hold(array: np.ndarray) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def channel_to(binding: Binding | None = None) -> AsyncIterator[Any]:
    async with (
        running_node("edge", mirror, fail, fail_in_a_slot, hold) as node,
        listening(node, binding) as address,
    ):
        channel = SessionChannel(address, SECRET)
        yield channel
        await channel.aclose()


class PlainLink:
    """The link below: it says what it is told, and opens what is no stream."""

    def __init__(self, report: NodeReport) -> None:
        self.report = report
        self.opened = 0
        self.silent = False

    async def opener(self, seconds: float) -> Callable[[], Any]:
        self.opened += 1
        return lambda: "plain"

    async def describe(self) -> NodeReport:
        if self.silent:
            raise DeadlineExceeded
        return self.report

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        yield self.report

    async def aclose(self) -> None:
        pass


async def test_a_session_goes_over_the_nodes_socket_once_its_report_is_known(
    call_of: MakeCall,
) -> None:
    async with channel_to() as channel:
        assert (await channel.describe()).machine == machine()
        answer = await channel.send(call_of(mirror, array=np.arange(5)))
        assert answer.value.tolist() == [0, 1, 2, 3, 4]
        assert isinstance(channel._session._stream, SocketStream)


async def test_before_the_first_report_it_goes_over_grpc(call_of: MakeCall) -> None:
    async with channel_to() as channel:
        await channel.send(call_of(mirror, array=np.arange(5)))
        assert not isinstance(channel._session._stream, SocketStream)


async def test_a_watch_tells_it_too(call_of: MakeCall) -> None:
    async with channel_to() as channel:
        reports = channel.watch(60)
        await anext(reports)
        await reports.aclose()
        await channel.send(call_of(mirror, array=np.arange(5)))
        assert isinstance(channel._session._stream, SocketStream)


async def test_a_node_with_tls_has_no_socket_that_goes_around_it(certificates: Any) -> None:
    async with (
        running_node("edge", mirror) as node,
        listening(node, Binding(tls=certificates.node)) as address,
    ):
        from orchestrator.wire.security import client_credentials

        channel = SessionChannel(address, SECRET, client_credentials(certificates.caller))
        report = await channel.describe()
        assert (report.socket, report.machine) == ("", "")
        await channel.aclose()


@pytest.mark.parametrize("other", [{"machine": "another"}, {"socket": ""}, {"socket": "isthmus-x"}])
async def test_a_socket_that_is_elsewhere_or_gone_is_left_alone(other: dict[str, str]) -> None:
    async with channel_to() as channel:
        report = replace(await channel.describe(), **other)
        below = PlainLink(report)
        link = NearbyLink(below)
        await link.describe()
        opened: Any = (await link.opener(5))()
        assert (opened, below.opened) == ("plain", 1)


async def test_those_who_ask_together_share_one_stream() -> None:
    async with channel_to() as channel:
        below = PlainLink(await channel.describe())
        link = NearbyLink(below)
        await link.describe()
        openers = await asyncio.gather(*(link.opener(5) for _ in range(5)))
        stream: Any = openers[0]()
        assert isinstance(stream, SocketStream)
        with pytest.raises(EndpointUnavailable):
            openers[1]()
        stream.cancel()
        assert below.opened == 0


async def test_a_stream_that_was_lost_before_its_use_is_opened_anew() -> None:
    async with channel_to() as channel:
        link = NearbyLink(PlainLink(await channel.describe()))
        await link.describe()
        await link.opener(5)
        spare: Any = link._spare
        spare.cancel()
        while not spare.lost:
            await asyncio.sleep(0)
        stream: Any = (await link.opener(5))()
        assert stream is not spare
        assert not stream.lost
        stream.cancel()


async def test_a_closed_link_leaves_no_stream() -> None:
    async with channel_to() as channel:
        link = NearbyLink(PlainLink(await channel.describe()))
        await link.describe()
        await link.opener(5)
        spare: Any = link._spare
        await link.aclose()
        async with asyncio.timeout(20):
            while not spare.lost:
                await asyncio.sleep(0.001)


async def test_a_frozen_node_loses_its_session_and_one_that_is_slow_once_does_not() -> None:
    async with channel_to() as channel:
        below, clock = PlainLink(await channel.describe()), ManualClock()
        link = NearbyLink(below, clock)
        await link.describe()
        stream: Any = (await link.opener(5))()
        below.silent = True
        for seconds, lost in ((5, False), (6, True)):
            clock.turn(seconds)
            with pytest.raises(DeadlineExceeded):
                await link.describe()
            await asyncio.sleep(0.01)
            assert stream.lost is lost


async def test_many_first_calls_at_once_open_one_session(call_of: MakeCall) -> None:
    async with channel_to() as channel:
        await channel.describe()
        calls = [call_of(mirror, array=np.full(3, index)) for index in range(50)]
        answers = await asyncio.gather(*map(channel.send, calls))
        assert [int(answer.value[0]) for answer in answers] == list(range(50))


@pytest.mark.parametrize("service", [mirror, fail, fail_in_a_slot, hold])
async def test_however_a_call_ends_its_tensors_are_given_back_without_the_garbage_collector(
    service: Any, call_of: MakeCall
) -> None:
    array = np.ones(100_000)
    async with channel_to() as channel:
        await channel.describe()
        await channel.send(call_of(mirror, array=array))
        gc.collect()
        gc.disable()
        try:
            spans = channel._session._memory._own._spans
            for _ in range(3):
                sending = asyncio.create_task(channel.send(call_of(service, array=array)))
                await asyncio.sleep(0)
                assert not spans.empty  # the positive control
                await asyncio.wait({sending}, timeout=0.2 if service is hold else 20)
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            async with asyncio.timeout(20):
                while not spans.empty:
                    await asyncio.sleep(0.005)
        finally:
            gc.enable()
