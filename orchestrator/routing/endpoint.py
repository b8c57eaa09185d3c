"""One reachable node as the caller sees it: channel, statistics, breaker, limiter."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, CircuitOpen, EndpointUnavailable
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
        self._idempotent: set[asyncio.Timeout] = set()
        self._clock = clock

    @property
    def problem(self) -> str:
        """Why it takes no calls, in words; empty when it does."""
        if self._down or self.report is None:
            return self._down
        if self.report.tier != self.options.tier:
            return f"it is a node of tier {self.report.tier}, the settings say {self.options.tier}"
        return "" if self.report.state == "ready" else f"it is {self.report.state}"

    def saw_report(self, report: NodeReport) -> None:
        """Take a report of the node's: it is there, and this is what it does."""
        if self._down:
            self.breaker.reached()
        self.report = report
        self._down = ""
        self._services = {service.name: service for service in report.services}
        self.stats.waiting = report.waiting

    def saw_down(self, reason: str) -> None:
        """Note that the node cannot be reached, with the reason in words.

        Idempotent calls that it holds are given up, so that they can go elsewhere; for others
        an answer may still come.
        """
        self._down = reason
        for limit in self._idempotent:
            limit.reschedule(0)

    def facts(self, service: str) -> EndpointFacts:
        """Return a snapshot for one service, for the policies."""
        options, stats, report = self.options, self.stats, self.report
        served = self._services.get(service)
        learned = stats.service_ms(service)
        return EndpointFacts(
            name=options.name,
            tier=options.tier,
            # The caller's own settings bind; a node can only ask for less.
            clearance=options.clearance.meet(report.clearance) if report else options.clearance,
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
            dollars_per_hour=options.dollars_per_hour,
        )

    async def send(self, call: Call, payload_bytes: int) -> Reply:
        """Send a call there and learn from the answer; a stream starts with its first value.

        Raises:
            CallError: It was refused or failed.
        """
        if call.stream:
            timings: list[Timings] = []
            return Reply(
                Chunks(self._stream(call, timings), lambda: timings[-1] if timings else Timings())
            )
        async with self._attempt(call):
            started = self._clock()
            reply = await self.channel.send(call)
            total_ms = (self._clock() - started) * 1e3
            self.stats.saw_reply(call.service, total_ms, payload_bytes, reply.timings)
            return reply

    async def _stream(self, call: Call, timings: list[Timings]) -> AsyncGenerator[Any, None]:
        async with self._attempt(call):
            chunks: Chunks = (await self.channel.send(call)).value
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                await chunks.aclose()
                timings.append(chunks.timings)

    @asynccontextmanager
    async def _attempt(self, call: Call) -> AsyncIterator[None]:
        """Hold a place at the node while the block runs, and note how the node did."""
        async with self.limiter.place():
            ticket = self.breaker.enter()
            if ticket is None:
                raise CircuitOpen(f"{self.name} failed repeatedly", node=self.name)
            started = self._clock()
            try:
                async with self._while_there(call):
                    yield
            except CallError as error:
                self._note(error, ticket)
                error.node = error.node or self.name
                error.call_id = error.call_id or call.id
                raise
            except BaseException:
                self.breaker.given_up(ticket)
                raise
            else:
                self.breaker.succeeded()
            finally:
                if call.deadline.left() <= 0:
                    # A node that lets calls run out of time must not stay the cheapest.
                    self.stats.saw_timeout(call.service, (self._clock() - started) * 1e3)

    def _note(self, error: CallError, ticket: int) -> None:
        if isinstance(error, EndpointUnavailable):
            self.breaker.failed(ticket)
        elif error.node:
            self.breaker.succeeded()  # it answered, though not with a result
        else:
            self.breaker.given_up(ticket)  # refused or out of time on this side

    @asynccontextmanager
    async def _while_there(self, call: Call) -> AsyncIterator[None]:
        """Give an idempotent call up when its node is seen to be gone."""
        if not call.idempotent or call.stream:
            yield
            return
        limit = asyncio.timeout(None)
        self._idempotent.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise EndpointUnavailable(
                    f"{self.name} is gone: {self._down}", sent=True, node=self.name
                ) from None
            raise
        finally:
            self._idempotent.discard(limit)
