"""What `@cloud_service(privacy=...)` does at the caller, before a Decision is made."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.core.audit import Audit, LoggedAudit, Pseudonymised, kept
from orchestrator.core.call import Call, Chunks, Result
from orchestrator.core.errors import CallError, DeadlineExceeded, PrivacyRefused
from orchestrator.core.labels import Labelled
from orchestrator.dispatch.auditing import named
from orchestrator.dispatch.interceptors import Next
from orchestrator.privacy.envelopes import Answers, lowered
from orchestrator.privacy.pseudonyms import PseudonymSession
from orchestrator.privacy.recognisers import Recogniser
from orchestrator.routing.directory import Directory
from policies.facts import PUBLIC, Label, Level, Placement

_log = logging.getLogger("isthmus.caller")

PSEUDONYMISED = Label(Level.INTERNAL)
"""The label of pseudonymised data: it is personal data still, and stays in the organisation."""

HIGHEST = Level.SENSITIVE
"""The most that is pseudonymised: what is secret must not depend on what a recogniser finds."""


class Pseudonymising:
    """Stands before the rest of the way of every call, and lets most pass untouched.

    A call that no cloud node is cleared for, of a service that says so, stays at the edge
    (`privacy="local"`), or goes on with pseudonyms (`privacy="pseudonymise"`), on every attempt
    and wherever it goes; its answer is restored and raised to the label the call had. What
    nodes are cleared for counts, not which of them are there at the moment.

    Args:
        rest: The rest of the way.
        directory: The nodes.
        recognisers: What finds private values.
        audit: Is told of each call before it leaves.
        new_key: Makes the key of each call's session.
    """

    def __init__(
        self,
        rest: Next,
        directory: Directory,
        recognisers: Sequence[Recogniser],
        audit: Audit | None = None,
        new_key: Callable[[], bytes] = lambda: secrets.token_bytes(32),
    ) -> None:
        self._rest = rest
        self._directory = directory
        self._recognisers = recognisers
        self._audit = audit or LoggedAudit()
        self._new_key = new_key

    def __call__(self, call: Call) -> Coroutine[Any, Any, Result[Any]]:
        """Bring a call further, as it is if it may go to the cloud so."""
        if call.privacy == "refuse" or call.label == PUBLIC or self._may_pass(call):
            return self._rest(call)
        if call.privacy == "local":
            return self._rest(replace(call, placement=Placement("edge")))
        return self._with_pseudonyms(call)

    def _may_pass(self, call: Call) -> bool:
        """Say whether a cloud node is cleared for the call, or it never goes there."""
        return not call.placement.allows("cloud") or any(
            endpoint.options.tier == "cloud" and endpoint.clearance.covers(call.label)
            for endpoint in self._directory.endpoints
        )

    async def _with_pseudonyms(self, call: Call) -> Result[Any]:
        session = PseudonymSession(self._recognisers, key=self._new_key())
        try:
            # In a thread: to look through a long text takes a while, and others wait here.
            async with asyncio.timeout(max(call.deadline.left(), 0.0)):
                arguments = await asyncio.to_thread(_lowered, call, session)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{call.service} had no time left after pseudonymising: give it more with "
                "deadline= or .options(deadline=...)",
                call_id=call.id,
            ) from None
        except PrivacyRefused:
            if call.placement.allows("edge"):
                return await self._rest(call)
            raise
        await self._note(call, session)
        answers = Answers(session, call.label)
        try:
            result = await self._rest(replace(call, arguments=arguments, label=PSEUDONYMISED))
            if call.stream:
                source = _RestoredChunks(call, result.value, answers, session)
                return result.with_value(Chunks(source, lambda: result.value.timings))
            value = answers.value(result.value)
        except BaseException:
            session.clear()
            raise
        _end(call, answers, session)
        return result.with_value(value)

    async def _note(self, call: Call, session: PseudonymSession) -> None:
        """Write down what is lowered, before it leaves."""
        event = Pseudonymised(
            **named(call),
            target=PSEUDONYMISED,
            found=tuple((kind, str(count)) for kind, count in sorted(session.counts.items())),
        )
        await kept(self._audit, event, call.deadline)


class _RestoredChunks:
    """The values of a stream, restored."""

    def __init__(
        self, call: Call, chunks: Chunks, answers: Answers, session: PseudonymSession
    ) -> None:
        self._call = call
        self._chunks = chunks
        self._answers = answers
        self._session = session
        self._ready: deque[Any] = deque()
        self._over = False

    async def __anext__(self) -> Any:
        try:
            while not self._ready and not self._over:
                chunk = await anext(self._chunks, _END)
                self._over = chunk is _END
                answers = self._answers
                self._ready += answers.rest() if self._over else answers.feed(chunk)
        except BaseException:
            self._session.clear()
            raise
        if self._ready:
            return self._ready.popleft()
        _end(self._call, self._answers, self._session)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the stream early."""
        self._session.clear()
        await self._chunks.aclose()


_END = object()


def _lowered(call: Call, session: PseudonymSession) -> Mapping[str, Any]:
    """Return a call's arguments with pseudonyms for all that is labelled.

    Raises:
        PrivacyRefused: They cannot be lowered so; the error says why, and nothing of them.
        InvalidInput: They have more private values than a session keeps.
    """
    _check_label(call)
    try:
        return {name: lowered(name, value, session) for name, value in call.arguments.items()}
    except CallError as error:
        error.call_id = call.id
        raise
    except Exception as error:  # a recogniser, or a type of the user; its words may hold values
        raise PrivacyRefused(
            f"{call.service} was not pseudonymised: {type(error).__name__} in a recogniser or in "
            "the type of an argument",
            call_id=call.id,
        ) from None


def _check_label(call: Call) -> None:
    """Raise PrivacyRefused if pseudonyms are not enough to lower a call's label."""
    if call.label.level > HIGHEST:
        raise PrivacyRefused(
            f"{call.service} pseudonymises up to {HIGHEST.name.lower()} and the call is labelled "
            f"{call.label}: what finds private values is statistical, and a secret must not depend "
            "on it; let it stay at the edge",
            call_id=call.id,
        )
    if PSEUDONYMISED.covers(call.floor):
        return
    for name, value in call.arguments.items():
        if not isinstance(value, Labelled) or not value.label.covers(call.floor):
            raise PrivacyRefused(
                f"the body that calls {call.service} works on data labelled {call.floor}, and "
                f"{name!r} is not in an envelope of that label, so that it would not be "
                "pseudonymised: pass it in one",
                call_id=call.id,
            )


def _end(call: Call, answers: Answers, session: PseudonymSession) -> None:
    """Forget the values of a call that has its answer, and tell of tokens without one."""
    session.clear()
    if answers.unresolved or answers.invented:
        _log.warning(
            "%s call %s: %d pseudonyms of the answer are unresolved, %d are invented",
            call.service, call.id, answers.unresolved, answers.invented,
        )  # fmt: skip
