"""What becomes a Call: checked arguments, the caller, and what the context adds to them."""

from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from typing import Any

from orchestrator.core.audit import Audit, Refused
from orchestrator.core.call import Call, Result
from orchestrator.core.context import Caller
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import CallError, PrivacyRefused, UsageError
from orchestrator.core.home import refuse_running_loop
from orchestrator.core.labels import label_of, raised_to
from orchestrator.core.running import Running, running
from orchestrator.core.spec import Declaration
from orchestrator.core.streams import AsyncStream
from policies.facts import PUBLIC, Label, Placement
from policies.record import record

MAX_DEPTH = 32
"""Bodies that may call one from the other; each one that blocks holds a thread."""


@record
class Request:
    """One call, before it starts.

    Attributes:
        declaration: The service.
        caller: Who takes the call.
        arguments: Argument name to value, checked.
        label: The join of their labels.
        placement: The tiers it may use.
        seconds: How long it may take.
        here: The body that calls, if one does.
    """

    declaration: Declaration
    caller: Caller
    arguments: Mapping[str, Any]
    label: Label
    placement: Placement
    seconds: float
    here: Running | None

    @classmethod
    def of(
        cls,
        declaration: Declaration,
        caller: Caller,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        placement: Placement,
        seconds: float,
    ) -> "Request":
        """Bind and check arguments, and find their label.

        Raises:
            InvalidInput: The arguments do not fit the signature.
            PrivacyRefused: One carries a label above what its parameter takes.
        """
        schema, here = declaration.spec.schema, running()
        try:
            arguments = schema.bind(args, kwargs)
        except PrivacyRefused:
            _note_refused(declaration, caller.audit, label_of((args, kwargs)))
            raise
        label = schema.label_of(arguments)
        return cls(declaration, caller, arguments, label, placement, seconds, here)

    @property
    def instead(self) -> str:
        """What to write instead of a blocking call inside a running loop."""
        name = self.declaration.spec.name
        if self.declaration.spec.streams:
            return f"`async for ... in {name}.aio(...)`"
        return f"`await {name}.aio(...)`"

    def block(self) -> Result[Any]:
        """Call and wait, in a thread without a running loop."""
        return self.caller.home.block(self._result(), self.instead)

    def submit(self) -> Future[Result[Any]]:
        """Start the call from a thread without a running loop."""
        refuse_running_loop(self.instead)
        return self.caller.home.submit(self._result())

    def run(self) -> Coroutine[Any, Any, Result[Any]]:
        """Call and await, on any loop."""
        home = self.caller.home
        return self._result() if home.is_here() else home.run(self._result())

    def stream(self) -> AsyncStream[Any]:
        """Return the stream of the call, which starts with the first value asked for."""
        return AsyncStream(self.caller.home, self._start, self._loaded, self.caller.clock)

    async def _result(self) -> Result[Any]:
        declaration, caller = self.declaration, self.caller
        if not caller.is_prepared(declaration):
            await caller.prepare(declaration)
        try:
            result = await caller.invoke(self._call())
        except CallError:
            self._note_failure()
            raise
        return result.with_value(self._loaded(result.value))

    async def _start(self) -> Result[Any]:
        if not self.caller.is_prepared(self.declaration):
            await self.caller.prepare(self.declaration)
        try:
            return await self.caller.invoke(self._call())
        except CallError:
            self._note_failure()
            raise

    def _loaded(self, value: Any) -> Any:
        """Return what came back in its declared type, at least as private as the arguments.

        Whoever answered: the node that ran it, another attempt, or a store of earlier answers.
        """
        spec = self.declaration.spec
        loaded = spec.schema.load_result(value)
        if self.label is PUBLIC or spec.declassifies:
            return loaded
        return raised_to(loaded, self.label)

    def _note_failure(self) -> None:
        """Raise the floor of the body that calls: that a call failed may tell of its arguments."""
        if self.here is not None and self.label is not PUBLIC:
            self.here.note_opened(self.label)

    def _call(self) -> Call:
        spec, here, clock = self.declaration.spec, self.here, self.caller.clock
        deadline, depth = Deadline(clock() + self.seconds, clock), 0
        # The floor of this moment: a stream starts after its call was made.
        floor = here.raised_floor if here is not None else PUBLIC
        label = self.label if floor is PUBLIC else self.label.join(floor)
        if here is not None and here.deadline is not None:
            deadline, depth = deadline.earlier(here.deadline), here.depth + 1
            self._check_depth(depth)
        drawn = f"{self.caller.random.getrandbits(192):048x}"
        trace = here.trace if here is not None and here.trace else drawn[:32]
        return Call(
            drawn[32:], trace, spec.name, spec.version, self.arguments, label, deadline,
            self.placement, spec.streams, spec.idempotent, 1, depth, None, spec.privacy, floor,
        )  # fmt: skip

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise UsageError(
                f"{self.declaration.spec.name} is called from {MAX_DEPTH} bodies, one inside the "
                "other: does a service call itself?"
            )


def _note_refused(declaration: Declaration, audit: Audit, label: Label) -> None:
    """Write down that an argument's label is above its parameter's; nothing waits for it."""
    spec = declaration.spec
    audit.record(Refused(service=spec.name, version=spec.version, label=label, rule="signature"))
