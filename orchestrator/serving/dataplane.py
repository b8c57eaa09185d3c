"""The way of a call through a node, whatever transport brought it: admit, run, check, answer."""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.context import Caller, calling_through
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, DeadlineExceeded, PrivacyRefused
from orchestrator.core.labels import raised_to
from orchestrator.core.limits import Wheel
from orchestrator.core.running import Meter, NodeHandle, Running, running, running_as
from orchestrator.serving.admission import Admission
from orchestrator.serving.bodies import Bodies
from orchestrator.serving.failures import body_failed, result_failed
from orchestrator.serving.metrics import NodeMetrics
from orchestrator.serving.registry import Registry, Served
from policies.facts import PUBLIC, Label

_audit = logging.getLogger("isthmus.audit")


@dataclass(slots=True)
class _Stay:
    """One call's stay on this node, and what it took."""

    call: Call
    since: float
    meter: Meter
    busy_ms: float = 0.0
    outcome: str = "OK"
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A call that may run: its service, its checked arguments and their label."""

    served: Served
    body: functools.partial[Any]
    label: Label
    here: Running


class DataPlane:
    """Takes calls whose arguments came over a channel and gives replies.

    Args:
        node: The node the bodies run on.
        registry: What it serves.
        admission: How many calls it takes.
        bodies: Where bodies run.
        caller: What takes the calls that bodies make.
        metrics: Counts calls.
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
        clock: Clock = time.monotonic,
    ) -> None:
        self._node = node
        self._registry = registry
        self._admission = admission
        self._bodies = bodies
        self._caller = caller
        self._metrics = metrics
        self._clock = clock
        self._wheel = Wheel()

    async def handle(self, call: Call) -> Reply:
        """Run a call; label, clearance and deadline are checked here a second time.

        A stream is checked when its first value is asked for.

        Raises:
            CallError: The call was refused or failed; the error names node and call.
        """
        stay = _Stay(call, self._clock(), Meter())
        if call.stream:
            return Reply(Chunks(self._stream(stay), lambda: stay.timings))
        with self._staying(stay):
            admitted = self._admit(stay)
            with self._in_body(stay, admitted):
                inline = admitted.served.spec.inline
                value = await self._bodies.run(admitted.body, admitted.here, inline=inline)
            call.deadline.check()  # a body that never waits is late all the same
            value = self._checked(admitted, value)
        admitted.served.service_ms.add(stay.timings.service_ms)
        return Reply(value, stay.timings)

    async def _stream(self, stay: _Stay) -> AsyncGenerator[Any, None]:
        with self._staying(stay):
            admitted = self._admit(stay)
            source = self._bodies.stream(admitted.body, admitted.here)
            try:
                while True:
                    stay.call.deadline.check()
                    # In the body for each step alone: between two steps the reader runs.
                    with self._in_body(stay, admitted):
                        value = await anext(source, _END)
                    if value is _END:
                        return
                    yield self._checked(admitted, value)
            finally:
                with running_as(admitted.here), calling_through(self._caller):
                    await source.aclose()

    def _admit(self, stay: _Stay) -> _Admitted:
        """Check a call before anything of it runs."""
        call, clearance = stay.call, self._node.clearance
        served = self._registry.find(call.service, call.version, stream=call.stream)
        if not clearance.covers(call.label):
            raise PrivacyRefused(
                f"label {call.label} is above clearance {clearance} of this node", shareable=True
            )
        call.deadline.check()
        arguments = served.spec.schema.load(call.arguments)
        label = served.spec.schema.label_of(arguments)
        if not call.label.covers(label):
            raise PrivacyRefused("an argument's label is above the call's", shareable=True)
        here = Running(
            self._node,
            # A declassifier is trusted to send on only what it has cleaned.
            floor=PUBLIC if served.spec.declassifies else call.label,
            deadline=call.deadline,
            trace=call.trace,
            slot=self._bodies.slot_of(served.body, inline=served.spec.inline),
            meter=stay.meter,
            trusted=served.spec.declassifies,
            depth=call.depth,
        )
        return _Admitted(served, functools.partial(served.body, **arguments), label, here)

    @contextmanager
    def _staying(self, stay: _Stay) -> Iterator[None]:
        """Count a call while it is here, measure it, and name node and call in its errors."""
        call = stay.call
        try:
            with self._admission.taken(nested=self._is_nested()):
                yield
        except CallError as error:
            stay.outcome = error.code
            error.node = error.node or self._node.name
            error.call_id = error.call_id or call.id
            raise
        except (asyncio.CancelledError, GeneratorExit):
            stay.outcome = "CANCELLED"
            raise
        finally:
            stay.timings = self._timings(stay)
            known = self._registry.name_of(call.service)
            self._metrics.record(known, stay.outcome, stay.timings.node_ms / 1e3)

    def _is_nested(self) -> bool:
        """Say whether the body of a call on this very node makes the call."""
        here = running()
        return here is not None and here.node is self._node and here.deadline is not None

    def _timings(self, stay: _Stay) -> Timings:
        queue_ms = stay.meter.queue_ms + stay.meter.shared_ms
        return Timings(
            node_ms=(self._clock() - stay.since) * 1e3,
            queue_ms=queue_ms,
            service_ms=max(stay.busy_ms - queue_ms, 0.0),
            waiting=self._admission.inside,
        )

    @contextmanager
    def _in_body(self, stay: _Stay, admitted: _Admitted) -> Iterator[None]:
        """Run the block as the body: its context, its time limit, its failures."""
        began = self._clock()
        limit = self._wheel.limit(stay.call.deadline.left())
        try:
            with running_as(admitted.here), calling_through(self._caller), limit:
                yield
        except BaseException as error:
            if limit.expired:
                raise DeadlineExceeded from None
            if _came_from_outside(error):
                raise
            raise body_failed(stay.call, admitted.served, error) from error
        finally:
            stay.busy_ms += (self._clock() - began) * 1e3

    def _checked(self, admitted: _Admitted, value: Any) -> Any:
        """Return a body's value if it fits its annotation, under the label of what made it."""
        spec = admitted.served.spec
        label = admitted.label.join(admitted.here.opened.label)
        if spec.declassifies:
            self._metrics.declassified[spec.name] += 1
            _audit.info("%s lowered a value labelled %s", spec.name, admitted.label)
        elif label != PUBLIC:
            if not spec.schema.result.sealed:
                raise PrivacyRefused(
                    f"{spec.name} opened a value labelled {label} and gives a plain result: label "
                    "its result, or declare declassifies=True on an edge service"
                )
            value = raised_to(value, label)
        try:
            return spec.schema.check_result(value)
        except CallError as error:
            raise result_failed(spec, value, error) from error


_END = object()


def _came_from_outside(error: BaseException) -> bool:
    """Say whether the call was given up, rather than the body having raised this itself."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task and task.cancelling()
    return bool(cancelled) or isinstance(error, GeneratorExit)
