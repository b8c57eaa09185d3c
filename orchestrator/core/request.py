"""What becomes a Call: checked arguments, the caller, and what the context adds to them."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from orchestrator.core.call import Call, Result
from orchestrator.core.context import Caller
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import UsageError
from orchestrator.core.home import refuse_running_loop
from orchestrator.core.running import Running, label_floor, running
from orchestrator.core.spec import Declaration
from orchestrator.core.streams import AsyncStream
from policies.facts import Label, Placement

MAX_DEPTH = 32
"""Bodies that may call one from the other; each one that blocks holds a thread."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call, before it starts.

    Attributes:
        declaration: The service.
        caller: Who takes the call.
        arguments: Argument name to value, checked.
        label: The join of their labels and of the floor of the body that calls.
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
        """Bind and check arguments, and label the call.

        Raises:
            InvalidInput: The arguments do not fit the signature.
            PrivacyRefused: One carries a label above what its parameter takes.
        """
        schema, here = declaration.spec.schema, running()
        arguments = schema.bind(args, kwargs)
        label = schema.label_of(arguments).join(label_floor())
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

    async def run(self) -> Result[Any]:
        """Call and await, on any loop."""
        return await self.caller.home.run(self._result())

    def stream(self) -> AsyncStream[Any]:
        """Return the stream of the call, which starts with the first value asked for."""
        load = self.declaration.spec.schema.load_result
        return AsyncStream(self.caller.home, self._start, load, self.caller.clock)

    async def _result(self) -> Result[Any]:
        result = await self._start()
        return result.with_value(self.declaration.spec.schema.load_result(result.value))

    async def _start(self) -> Result[Any]:
        await self.caller.prepare(self.declaration)
        return await self.caller.invoke(self._call())

    def _call(self) -> Call:
        spec, caller, here = self.declaration.spec, self.caller, self.here
        deadline = Deadline.after(self.seconds, caller.clock)
        depth = here.depth + 1 if here and here.deadline else 0
        if depth > MAX_DEPTH:
            raise UsageError(
                f"{spec.name} is called from {MAX_DEPTH} bodies, one inside the other: does a "
                "service call itself?"
            )
        return Call(
            id=f"{caller.random.getrandbits(64):016x}",
            trace=(here.trace if here else "") or f"{caller.random.getrandbits(128):032x}",
            service=spec.name,
            version=spec.version,
            arguments=self.arguments,
            label=self.label,
            deadline=deadline.earlier(here.deadline if here else None),
            placement=self.placement,
            stream=spec.streams,
            idempotent=spec.idempotent,
            depth=depth,
        )
