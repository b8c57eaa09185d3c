"""The dispatcher: walks a Decision's candidates until one answers, within the deadline."""

import asyncio
import random
import time
from dataclasses import replace
from typing import Any

from orchestrator.core.call import Call, Chunks, Reply, Result
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, DeadlineExceeded, NoRoute, OutcomeUnknown
from orchestrator.core.limits import Wheel
from orchestrator.resilience.retry import RetryBudget, backoff
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.router import Router
from orchestrator.wire.payloads import pack
from policies.facts import Decision

ROUNDS = 3
"""How often the candidates are asked for before a call is given up."""


class Dispatcher:
    """Brings calls to nodes.

    Args:
        router: Decides where a call may go; the only source of endpoints.
        budget: How many attempts may be repeats.
        source: Spreads repeats in time.
        clock: The caller's clock.
    """

    def __init__(
        self,
        router: Router,
        budget: RetryBudget,
        source: random.Random,
        clock: Clock = time.monotonic,
    ) -> None:
        self._router = router
        self._budget = budget
        self._source = source
        self._clock = clock
        self._wheel = Wheel()

    async def invoke(self, call: Call) -> Result[Any]:
        """Bring a call to a node and return its result; a stream's value is its Chunks.

        Raises:
            CallError: It was refused, ran out of time, or failed.
        """
        self._budget.deposit()
        call.deadline.check(call.id)
        seconds = call.deadline.left()
        limit = self._wheel.limit(seconds)
        try:
            with limit:
                return await self._walk(call)
        except TimeoutError:
            if limit.expired:
                raise DeadlineExceeded(
                    f"{call.service} had no answer within {seconds:.3g} s: give it more time with "
                    "deadline= or .options(deadline=...)",
                    call_id=call.id,
                ) from None
            raise

    async def _walk(self, call: Call) -> Result[Any]:
        """Try the candidates in order; when all have failed, wait a little and ask again."""
        started = self._clock()
        call = call.packed_as(packed := pack(call.arguments))
        size = packed.size
        tried: list[str] = []
        failure: CallError | None = None
        for rounds in range(ROUNDS):
            if rounds:
                await asyncio.sleep(backoff(rounds, self._source.random()))
            decision = self._decide(call, size, failure)
            for candidate in decision.candidates:
                endpoint = self._router.endpoint(candidate.name)
                if endpoint is None:
                    continue
                if failure and not self._budget.withdraw():
                    raise failure
                tried.append(endpoint.name)
                try:
                    if len(tried) > 1:
                        call = replace(call, attempt=len(tried))
                    reply = await self._attempt(endpoint, call, size)
                except CallError as error:
                    failure = self._may_repeat(call, error)
                    continue
                return self._result(call, endpoint, decision, reply, tried, started)
        raise failure or NoRoute(call_id=call.id)

    def _decide(self, call: Call, size: int, failure: CallError | None) -> Decision:
        try:
            return self._router.decide(call, size)
        except NoRoute:
            if failure:  # what went wrong at the last candidate says more than that none is left
                raise failure from None
            raise

    async def _attempt(self, endpoint: Endpoint, call: Call, size: int) -> Reply:
        reply = await endpoint.send(call, size)
        if not call.stream:
            return reply
        # Until its first value a stream may still go elsewhere; after it, never.
        chunks: Chunks = reply.value
        first = await anext(chunks, _END)
        return Reply(Chunks(_Resumed(first, chunks), lambda: chunks.timings))

    def _may_repeat(self, call: Call, error: CallError) -> CallError:
        """Return the error if another endpoint may be tried; else raise what the user sees."""
        error.call_id = error.call_id or call.id
        if error.retry == "never":
            raise error
        if error.retry == "idempotent" and not call.idempotent:
            raise OutcomeUnknown(
                f"{error}; {call.service} may have run, and was not declared idempotent",
                call_id=call.id,
                node=error.node,
            ) from error
        return error

    def _result(
        self,
        call: Call,
        endpoint: Endpoint,
        decision: Decision,
        reply: Reply,
        tried: list[str],
        started: float,
    ) -> Result[Any]:
        return Result(
            value=reply.value,
            tier=endpoint.options.tier,
            node=endpoint.name,
            label=call.label,
            decision=decision,
            timings=reply.timings,
            total_ms=(self._clock() - started) * 1e3,
            attempts=tuple(tried),
            call_id=call.id,
        )


_END = object()


class _Resumed:
    """A stream whose first value was taken already."""

    def __init__(self, first: Any, rest: Chunks) -> None:
        self._first = first
        self._rest = rest
        self._taken = False

    async def __anext__(self) -> Any:
        if self._taken:
            return await anext(self._rest)
        self._taken = True
        if self._first is _END:
            raise StopAsyncIteration
        return self._first

    async def aclose(self) -> None:
        """Close the rest, even if nothing was read."""
        await self._rest.aclose()
