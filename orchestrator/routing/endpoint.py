"""One reachable node as the caller sees it: channel, statistics, breaker, limiter."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, CircuitOpen, EndpointUnavailable
from orchestrator.core.limits import Limit
from orchestrator.core.report import NodeReport, ServiceReport
from orchestrator.resilience.breaker import Breaker
from orchestrator.resilience.limiter import Limiter
from orchestrator.routing.stats import EndpointStats
from orchestrator.wire.channel import Channel
from policies.facts import Clearance, EndpointFacts, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """What the caller's settings say of a node.

    Attributes:
        name: Its name in decisions.
        tier: Where it stands.
        address: Where it listens; words for people when it is in this process.
        clearance: The most private data it may receive.
        dollars_per_hour: What it costs while it works.
        max_in_flight: The most calls at the node.
    """

    name: str
    tier: Tier
    address: str
    clearance: Clearance
    dollars_per_hour: float = 0.0
    max_in_flight: int = 128


class Endpoint:
    """Sends calls to one node and learns from the answers.

    Args:
        options: What the settings say of it.
        channel: The way to it.
        clock: The caller's clock.
    """

    def __init__(
        self, options: EndpointOptions, channel: Channel, clock: Clock = time.monotonic
    ) -> None:
        self.options = options
        self.name = options.name
        self.channel = channel
        self.stats = EndpointStats(clock)
        self.breaker = Breaker(clock=clock)
        self.limiter = Limiter(options.max_in_flight)
        self.report: NodeReport | None = None
        self._services: dict[str, ServiceReport] = {}
        self._down = "no report from it yet"
        self._idempotent: set[Limit] = set()
        self._streams: WeakSet[AsyncGenerator[Any, None]] = WeakSet()
        self._clock = clock
        self.changes = 0
        """Counts reports, failures and the like: what a Decision made before does not know."""

    @property
    def problem(self) -> str:
        """Why it takes no calls, in words; empty when it does."""
        if self._down or self.report is None:
            return self._down
        if self.report.tier != self.options.tier:
            return f"it is a node of tier {self.report.tier}, the settings say {self.options.tier}"
        return "" if self.report.state == "ready" else f"it is {self.report.state}"

    @property
    def clearance(self) -> Clearance:
        """What may go there: the caller's own settings bind, and a node can only ask for less."""
        configured, report = self.options.clearance, self.report
        return configured.meet(report.clearance) if report else configured

    def saw_report(self, report: NodeReport) -> None:
        """Take a report of the node's: it is there, and this is what it does."""
        if self._down:
            self.breaker.reached()
        self.report = report
        self._down = ""
        self._services = {service.name: service for service in report.services}
        self.stats.waiting = report.waiting
        self.changes += 1

    def saw_down(self, reason: str) -> None:
        """Note that the node cannot be reached, with the reason in words.

        Idempotent calls that it holds are given up, so that they can go elsewhere; for others
        an answer may still come.
        """
        self._down = reason
        self.changes += 1
        for limit in self._idempotent:
            # Soon, and not now: whoever says so may stand in one of these calls itself.
            asyncio.get_running_loop().call_soon(limit.give_up)

    def facts(self, service: str) -> EndpointFacts:
        """Return a snapshot for one service, for the policies."""
        options, stats, report = self.options, self.stats, self.report
        served = self._services.get(service)
        learned = stats.service_ms(service)
        return EndpointFacts(
            name=options.name,
            tier=options.tier,
            clearance=self.clearance,
            ready=not (problem := self.problem),
            reason=problem,
            version=served.version if served else None,
            circuit_open=self.breaker.is_open,
            in_flight=self.limiter.count,
            capacity=self.limiter.capacity,
            waiting=stats.waiting,
            parallelism=report.parallelism if report else 1,
            round_trip_ms=stats.round_trip_ms,
            bytes_per_ms=stats.bytes_per_ms,
            service_ms=learned or (served.service_ms if served else 0.0),
            delay_ms=stats.delay_ms(service),
            dollars_per_hour=options.dollars_per_hour,
        )

    async def send(self, call: Call, payload_bytes: int) -> Reply:
        """Send a call there and learn from the answer; a stream starts with its first value.

        Raises:
            CallError: It was refused or failed.
        """
        if call.stream:
            timings: list[Timings] = []
            source = self._stream(call, timings)
            self._streams.add(source)
            return Reply(Chunks(source, lambda: timings[-1] if timings else Timings()))
        limiter, clock = self.limiter, self._clock
        asked, ahead = clock(), limiter.count
        if not limiter.enter_now(nested=call.depth > 0):
            await limiter.enter(call.deadline)
        try:
            started = clock()
            ticket = self._begin()
            try:
                if call.idempotent:
                    reply = await self._send_while_there(call)
                else:
                    reply = await self.channel.send(call)
            except BaseException as error:
                self._failed(call, ticket, started, error)
                raise
            ended = clock()
            self.breaker.succeeded()
        finally:
            limiter.leave()
        measured = reply.timings
        waited_ms = (started - asked) * 1e3 + measured.queue_ms
        total_ms = (ended - started) * 1e3
        self.stats.saw_reply(call.service, total_ms, payload_bytes, measured, waited_ms, ahead)
        return reply

    async def aclose(self) -> None:
        """Close the way to the node; calls in flight end with EndpointUnavailable."""
        for source in list(self._streams):
            with suppress(RuntimeError):  # somebody waits for its next value: the channel tells
                await source.aclose()
        await self.channel.aclose()

    async def _stream(self, call: Call, timings: list[Timings]) -> AsyncGenerator[Any, None]:
        if not self.limiter.enter_now(nested=call.depth > 0):
            await self.limiter.enter(call.deadline)
        try:
            ticket, started = self._begin(), self._clock()
            try:
                chunks: Chunks = (await self.channel.send(call)).value
                try:
                    async for chunk in chunks:
                        yield chunk
                finally:
                    await chunks.aclose()
                    timings.append(chunks.timings)
            except BaseException as error:
                self._failed(call, ticket, started, error)
                raise
            self.breaker.succeeded()
        finally:
            self.limiter.leave()

    def _begin(self) -> int:
        ticket = self.breaker.enter()
        if ticket is None:
            self.changes += 1  # the Decision that led here was made before a trial began
            raise CircuitOpen(f"{self.name} failed repeatedly", node=self.name)
        return ticket

    def _failed(self, call: Call, ticket: int, started: float, error: BaseException) -> None:
        """Note how the node did with a call, and name it in the error."""
        if isinstance(error, CallError):
            self._note(error, ticket)
            error.node = self.name  # as the caller's settings call it
            error.call_id = error.call_id or call.id
        else:
            self.breaker.given_up(ticket)
        if call.deadline.left() <= 0:
            # A node that lets calls run out of time must not stay the cheapest.
            self.stats.saw_timeout(call.service, (self._clock() - started) * 1e3)
        self.changes += 1

    def _note(self, error: CallError, ticket: int) -> None:
        if isinstance(error, EndpointUnavailable):
            self.breaker.failed(ticket)
        elif error.node:
            self.breaker.succeeded()  # it answered, though not with a result
        else:
            self.breaker.given_up(ticket)  # refused or out of time on this side

    async def _send_while_there(self, call: Call) -> Reply:
        """Send an idempotent call, and give it up when its node is seen to be gone."""
        limit = Limit()
        self._idempotent.add(limit)
        try:
            with limit:
                return await self.channel.send(call)
        except TimeoutError:
            if limit.expired:
                raise EndpointUnavailable(
                    f"{self.name} is gone: {self._down}", sent=True, node=self.name
                ) from None
            raise
        finally:
            self._idempotent.discard(limit)
