"""The dispatcher: walks a Decision's candidates until one answers, within the deadline."""

import asyncio
import logging
import random
import time
from dataclasses import replace
from typing import Any

from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.call import Call, Chunks, Reply, Result
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    NoRoute,
    OutcomeUnknown,
    PrivacyRefused,
)
from orchestrator.dispatch.auditing import CallerAudit
from orchestrator.resilience.retry import RetryBudget, backoff
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.router import Router
from orchestrator.wire.payloads import pack
from policies.facts import PUBLIC, Decision

_log = logging.getLogger("isthmus.caller")

# Ids, names and times: never a payload.
_RAN = "%s call %s ran on %s in %.1f ms"
_FAILED = "%s call %s: %s (%s)"

ROUNDS = 3
"""How often the candidates are asked for before a call is given up."""


class Dispatcher:
    """Brings calls to nodes.

    Args:
        router: Decides where a call may go; the only source of endpoints.
        budget: How many attempts may be repeats.
        source: Spreads repeats in time.
        clock: The caller's clock.
        audit: Where it writes down what happens to labelled calls.
    """

    def __init__(
        self,
        router: Router,
        budget: RetryBudget,
        source: random.Random,
        clock: Clock = time.monotonic,
        audit: Audit | None = None,
    ) -> None:
        self._router = router
        self._budget = budget
        self._source = source
        self._clock = clock
        self._auditor = CallerAudit(audit or LoggedAudit())

    async def invoke(self, call: Call) -> Result[Any]:
        """Bring a call to a node and return its result; a stream's value is its Chunks.

        Raises:
            CallError: It was refused, ran out of time, or failed.
        """
        self._budget.deposit()
        try:
            call.deadline.check(call.id)
            started = self._clock()
            packed = pack(call.arguments)
            call, size = call.packed_as(packed), packed.size
            tried: tuple[str, ...] = ()
            failure: CallError | None = None
            for rounds in range(ROUNDS):
                if rounds:
                    await self._pause(rounds, call)
                decision = self._decide(call, size, failure)
                for candidate in decision.candidates:
                    endpoint = self._router.endpoint(candidate.name)
                    if endpoint is None:
                        continue
                    if failure:
                        call = self._again(call, failure, len(tried) + 1)
                    tried = (*tried, endpoint.name)
                    if call.label is not PUBLIC:
                        await self._auditor.decided(call, decision, endpoint.name)
                    try:
                        if call.stream:
                            reply = await self._begin_stream(endpoint, call, size)
                        else:
                            reply = await endpoint.send(call, size)
                    except CallError as error:
                        failure = self._may_repeat(call, error)
                        continue
                    total_ms = (self._clock() - started) * 1e3
                    if _log.isEnabledFor(logging.DEBUG):
                        _log.debug(_RAN, call.service, call.id, endpoint.name, total_ms)
                    return Result(
                        reply.value, endpoint.options.tier, endpoint.name, call.label, decision,
                        reply.timings, total_ms, tried, call.id,
                    )  # fmt: skip
            raise failure or NoRoute(call_id=call.id)
        except CallError as error:
            if isinstance(error, PrivacyRefused):
                await self._auditor.refused(call, error)
            _log.info(_FAILED, call.service, call.id, error.code, error.node or "-")
            raise

    def _again(self, call: Call, failure: CallError, attempt: int) -> Call:
        """Return a call's next attempt; raise what failed the last one if there may be none."""
        call.deadline.check(call.id)
        if not self._budget.withdraw():
            raise failure
        return replace(call, attempt=attempt)

    async def _pause(self, rounds: int, call: Call) -> None:
        seconds = backoff(rounds, self._source.random())
        await asyncio.sleep(max(min(seconds, call.deadline.left()), 0.0))
        call.deadline.check(call.id)

    def _decide(self, call: Call, size: int, failure: CallError | None) -> Decision:
        try:
            return self._router.decide(call, size)
        except NoRoute:
            if failure:  # what went wrong at the last candidate says more than that none is left
                raise failure from None
            raise

    async def _begin_stream(self, endpoint: Endpoint, call: Call, size: int) -> Reply:
        """Wait for the first value of a stream: until then it may go elsewhere, later never."""
        chunks: Chunks = (await endpoint.send(call, size)).value
        first = await anext(chunks, _END)
        return Reply(Chunks(_Resumed(first, chunks), lambda: chunks.timings))

    def _may_repeat(self, call: Call, error: CallError) -> CallError:
        """Return the error if another endpoint may be tried; else raise what the user sees."""
        error.call_id = error.call_id or call.id
        if isinstance(error, DeadlineExceeded):
            raise DeadlineExceeded(
                f"{call.service} had no answer from {error.node or 'any node'} in time: give it "
                "more with deadline= or .options(deadline=...)",
                call_id=call.id,
                node=error.node,
            ) from None
        if error.retry == "never":
            raise error
        if error.retry == "idempotent" and not call.idempotent:
            raise OutcomeUnknown(
                f"{error}; {call.service} may have run, and was not declared idempotent",
                call_id=call.id,
                node=error.node,
            ) from error
        return error


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
