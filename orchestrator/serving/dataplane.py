"""The way of a call through a node, whatever transport brought it: admit, run, check, answer."""

import functools
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from typing import Any, NoReturn

from orchestrator.core.call import Call, Chunks, Reply
from orchestrator.core.context import Caller, call_through
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, DeadlineExceeded, PrivacyRefused
from orchestrator.core.labels import raised_to
from orchestrator.core.limits import Limits
from orchestrator.core.running import NodeHandle, Running, begin_body, running
from orchestrator.core.stepping import OnWait, in_context, nobody
from orchestrator.serving.admission import Admission
from orchestrator.serving.auditing import NodeAudit
from orchestrator.serving.bodies import Bodies
from orchestrator.serving.failures import body_failed, came_from_outside, result_failed
from orchestrator.serving.metrics import NodeMetrics
from orchestrator.serving.registry import Registry
from orchestrator.serving.stay import Stay
from policies.facts import PUBLIC, Level


class DataPlane:
    """Takes calls whose arguments came over a channel and gives replies.

    Args:
        node: The node the bodies run on.
        registry: What it serves.
        admission: How many calls it takes.
        bodies: Where bodies run.
        caller: What takes the calls that bodies make.
        metrics: Counts calls.
        auditor: Writes down what happens to labelled calls.
        clock: The node's clock.
    """

    def __init__(
        self,
        node: NodeHandle,
        registry: Registry,
        admission: Admission,
        bodies: Bodies,
        caller: Caller,
        metrics: NodeMetrics,
        auditor: NodeAudit,
        clock: Clock = time.monotonic,
    ) -> None:
        self._node = node
        self._registry = registry
        self._admission = admission
        self._bodies = bodies
        self._caller = caller
        self._metrics = metrics
        self._auditor = auditor
        self._clock = clock
        self._limits = Limits()

    async def handle(self, call: Call, on_wait: OnWait = nobody) -> Reply:
        """Run a call; label, clearance and deadline are checked here a second time.

        A stream is checked when its first value is asked for.

        Args:
            call: The call.
            on_wait: Is told when the call first waits for something.

        Raises:
            CallError: The call was refused or failed; the error names node and call.
        """
        stay = Stay(call, self._clock(), on_wait)
        if call.stream:
            return Reply(Chunks(self._stream(stay), lambda: stay.timings))
        try:
            self._enter()
            try:
                arguments = self._admit(stay)
                labelled = call.label is not PUBLIC
                if labelled:
                    await self._auditor.accepted(stay, arguments)
                value = self._checked(stay, await self._run(stay, arguments))
                if labelled and stay.served.spec.declassifies:
                    await self._auditor.declassified(stay, value)
            except PrivacyRefused:
                await self._auditor.refused(stay)
                raise
            finally:
                self._leave(stay)
        except BaseException as error:
            stay.note(error, self._node.name)
            raise
        finally:
            self._record(stay)
        stay.served.service_ms.add(stay.timings.service_ms)
        return Reply(value, stay.timings)

    async def _run(self, stay: Stay, arguments: dict[str, Any]) -> Any:
        """Run a body in a context of its own, until its deadline, and tell of its failures."""
        served, here = stay.served, stay.here
        context = copy_context()
        context.run(self._begin, here)
        stay.began = self._clock()
        try:
            if served.awaited:
                body = served.body(**arguments)
                value = await in_context(body, context, functools.partial(self._waits, stay))
            else:
                value = await self._bodies.run(
                    functools.partial(served.body, **arguments),
                    here,
                    inline=served.spec.inline,
                    context=context,
                    on_wait=functools.partial(self._waits, stay),
                )
        except BaseException as error:
            self._fail(stay, error)
        else:
            self._end_wait(stay)
        finally:
            stay.busy_ms += (self._clock() - stay.began) * 1e3
        stay.call.deadline.check()  # a body that never waits is late all the same
        return value

    def _begin(self, here: Running) -> None:
        """Make the context that this runs in a body's, with this node's caller for its calls."""
        begin_body(here)
        call_through(self._caller)

    def _waits(self, stay: Stay) -> None:
        """Limit the time of a call, now that it leaves the loop to others."""
        limit = stay.limit = self._limits.until(stay.call.deadline)
        limit.__enter__()
        stay.on_wait()

    async def _stream(self, stay: Stay) -> AsyncGenerator[Any, None]:
        with self._staying(stay):
            try:
                arguments = self._admit(stay)
                labelled = stay.call.label is not PUBLIC
                if labelled:
                    await self._auditor.accepted(stay, arguments)
                source, context = self._begin_stream(stay, arguments)
                waits, count = functools.partial(self._waits, stay), 0
                try:
                    while (value := await self._step(stay, source, context, waits)) is not _END:
                        value, count = self._checked(stay, value), count + 1
                        if labelled and stay.served.spec.declassifies:
                            await self._auditor.declassified(stay, value, count)
                        yield value
                finally:
                    await in_context(source.aclose(), context, nobody)
            except PrivacyRefused:
                await self._auditor.refused(stay)
                raise

    def _begin_stream(
        self, stay: Stay, arguments: dict[str, Any]
    ) -> tuple[AsyncGenerator[Any, None], Context]:
        """Return what gives a stream's values, and the context it does that in."""
        served, context = stay.served, copy_context()
        context.run(self._begin, stay.here)
        if served.spec.kind == "async stream":
            return served.body(**arguments), context
        body = functools.partial(served.body, **arguments)
        return self._bodies.stream(body, stay.here), context

    async def _step(
        self, stay: Stay, source: AsyncGenerator[Any, None], context: Context, waits: OnWait
    ) -> Any:
        """Return the next value of a stream's body, or _END."""
        stay.call.deadline.check()
        value: Any = _END
        stay.began = self._clock()
        try:
            value = await in_context(source.__anext__(), context, waits)
        except StopAsyncIteration:
            pass
        except BaseException as error:
            self._fail(stay, error)
        finally:
            stay.busy_ms += (self._clock() - stay.began) * 1e3
        self._end_wait(stay)
        return value

    def _admit(self, stay: Stay) -> dict[str, Any]:
        """Check a call before anything of it runs, and return its arguments."""
        call, clearance = stay.call, self._node.clearance
        served = stay.served = self._registry.find(call.service, call.version, stream=call.stream)
        spec, stay.service = served.spec, call.service
        if not clearance.covers(call.label):
            raise PrivacyRefused(
                f"label {call.label} is above clearance {clearance} of this node", shareable=True
            )
        call.deadline.check()
        arguments = spec.schema.load(call.arguments)
        label = stay.label = spec.schema.label_of(arguments)
        if not call.label.covers(label):
            raise PrivacyRefused("an argument's label is above the call's", shareable=True)
        # A declassifier may send on what it has cleaned of what it declares to take.
        trusted = spec.schema.highest if spec.declassifies else Level.PUBLIC
        stay.here = Running(
            self._node,
            PUBLIC if trusted and call.label.level <= trusted else call.label,
            call.deadline,
            call.trace,
            None if served.on_loop else self._bodies.slots,
            stay.meter,
            trusted,
            call.depth,
        )
        return arguments

    @contextmanager
    def _staying(self, stay: Stay) -> Iterator[None]:
        """Count a stream while it is here, measure it, and name node and call in its errors."""
        try:
            self._enter()
            try:
                yield
            finally:
                self._leave(stay)
        except BaseException as error:
            stay.note(error, self._node.name)
            raise
        finally:
            self._record(stay)

    def _enter(self) -> None:
        try:
            self._admission.enter()
        except CallError:
            if not self._is_nested():
                raise
            self._admission.enter(nested=True)

    def _leave(self, stay: Stay) -> None:
        self._admission.leave()
        stay.measure(self._clock(), self._admission.inside)

    def _record(self, stay: Stay) -> None:
        known = stay.service or self._registry.name_of(stay.call.service)
        self._metrics.record(known, stay.outcome, stay.timings.node_ms / 1e3)

    def _is_nested(self) -> bool:
        """Say whether the body of a call on this very node makes the call."""
        here = running()
        return here is not None and here.node is self._node and here.deadline is not None

    def _end_wait(self, stay: Stay) -> None:
        """End a call's limit, if it had one; it may have been given up in this moment."""
        if stay.limit is not None:
            try:
                stay.limit.__exit__(None, None, None)
            finally:
                expired, stay.limit = stay.limit.expired, None
            if expired:
                raise DeadlineExceeded

    def _fail(self, stay: Stay, error: BaseException) -> NoReturn:
        """Raise what a call whose body raised ends with."""
        limit, stay.limit = stay.limit, None
        if limit is not None:
            with suppress(TimeoutError):
                limit.__exit__(type(error), error, None)
            if limit.expired:
                raise DeadlineExceeded from None
        try:
            if came_from_outside(error):
                raise error
            raise body_failed(stay.call, stay.served, error) from error
        finally:
            del error  # it would keep this frame, and with it the call's arguments, alive

    def _checked(self, stay: Stay, value: Any) -> Any:
        """Return a body's value if it fits its annotation, under the label of what made it."""
        spec, opened = stay.served.spec, stay.here.opened
        label = PUBLIC if spec.declassifies else stay.label
        if opened is not PUBLIC:
            label = label.join(opened)
        if label.level or label.categories:
            if not spec.schema.result.sealed:
                raise PrivacyRefused(
                    f"{spec.name} opened a value labelled {label} and gives a plain result: label "
                    "its result, or declare declassifies=True on an edge service"
                )
            value = raised_to(value, label)
        if spec.declassifies:
            self._metrics.declassified[spec.name] += 1
        try:
            return spec.schema.check_result(value)
        except CallError as error:
            raise result_failed(spec, value, error) from error


_END = object()
