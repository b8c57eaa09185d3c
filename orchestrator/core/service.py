"""The handles that decorators give back: call one, and the call goes where it should."""

import copy
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Generic, Literal, ParamSpec, Protocol, Self, TypeVar, cast, overload

from orchestrator.core.call import Result
from orchestrator.core.context import Caller, active_caller, is_open
from orchestrator.core.deadline import Duration, parse_duration
from orchestrator.core.errors import CallError, DefinitionError, UsageError
from orchestrator.core.mapping import map_async, map_blocking
from orchestrator.core.request import Request
from orchestrator.core.spec import Declaration, Kind, ServiceSpec, read_signature
from orchestrator.core.streams import AsyncStream, Stream
from policies.facts import Placement, Tier

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
R_co = TypeVar("R_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class _One(Protocol[A_contra, R_co]):
    """A service of one argument, whatever that argument's name."""

    def __call__(self, item: A_contra, /) -> R_co: ...


class Handle(Generic[P, R]):
    """What handles of every kind share.

    Args:
        declaration: The service.
        bound: The orchestrator whose decorator made it, if one did.
    """

    def __init__(self, declaration: Declaration, bound: Caller | None = None) -> None:
        self.declaration = declaration
        self._bound = bound
        self._placement = declaration.spec.placement
        self._seconds = declaration.spec.deadline
        functools.update_wrapper(cast(Callable[P, R], self), declaration.body)

    @property
    def spec(self) -> ServiceSpec:
        """What the decorator declared."""
        return self.declaration.spec

    @property
    def local(self) -> Callable[P, R]:
        """The plain body, here and now: no node, no checks of arguments, no labels opened."""
        owner, body = self.declaration.owner, self.declaration.body
        return cast(Callable[P, R], functools.partial(body, owner()) if owner else body)

    def options(self, *, deadline: Duration | None = None, tier: Tier | None = None) -> Self:
        """Return the same service with other terms.

        Args:
            deadline: How long a call may take, such as "300ms".
            tier: The only tier to use, of those the service opened itself to.

        Raises:
            UsageError: The deadline is none, or the service may not run on that tier.
        """
        handle = copy.copy(self)
        if deadline is not None:
            handle._seconds = _seconds(deadline)
        if tier is not None:
            if tier not in ("edge", "cloud"):
                raise UsageError(f"there is no tier {tier!r}: name edge or cloud")
            if not self.spec.placement.allows(tier):
                raise UsageError(
                    f"{self.spec.name} stays on the {self.spec.placement.home}: its decorator must "
                    f'say overflow="{tier}" or fallback="{tier}"'
                )
            handle._placement = Placement(tier)
        return handle

    def on(self, tier: Tier) -> Callable[[Callable[P, R]], Self]:
        """Give one tier a body of its own, of the same signature.

        Raises:
            DefinitionError: The service never runs there, or the signature differs.
        """
        return lambda body: self._replace_body(tier, body)

    def _replace_body(self, tier: Tier, body: Callable[P, R]) -> Self:
        spec = self.spec
        if self.declaration.owner or self.declaration.model:
            raise DefinitionError(
                f"{spec.name} is a method or a model: only a function has a body for one tier"
            )
        kind, schema = read_signature(body, f"{spec.name} on the {tier}")
        if not spec.runs_on(tier):
            raise DefinitionError(f"{spec.name} never runs on the {tier}: its body is of no use")
        if (kind, schema.text) != (spec.kind, spec.schema.text):
            raise DefinitionError(
                f"{spec.name} on the {tier} is {kind} {schema.text}, the service is "
                f"{spec.kind} {spec.schema.text}: both bodies need one signature"
            )
        self.declaration.bodies[tier] = body
        return self

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        caller = self._bound if self._bound and is_open(self._bound) else active_caller()
        return Request.of(self.declaration, caller, args, kwargs, self._placement, self._seconds)


class Blocking(Generic[P, R]):
    """The blocking verbs: what a `def` service has by itself, and what `.sync` gives."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the service and return its value."""
        return self.call(*args, **kwargs).value

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Call the service and return its value together with how it came about."""
        return cast(Result[R], self._ask(args, kwargs).block())

    @overload
    def map(
        self: _One[A, B], inputs: Iterable[A], *, return_errors: Literal[False] = ...
    ) -> Iterator[B]: ...
    @overload
    def map(
        self: _One[A, B], inputs: Iterable[A], *, return_errors: Literal[True]
    ) -> Iterator[B | CallError]: ...
    def map(self: Any, inputs: Iterable[Any], *, return_errors: bool = False) -> Iterator[Any]:
        """Call the service once an input, at most 64 in flight; yield answers in order.

        The first error cancels the rest, unless `return_errors` yields errors in place.
        """
        return map_blocking(lambda item: self._ask((item,), {}), inputs, return_errors)

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        raise NotImplementedError


class Awaited(Generic[P, R]):
    """The asynchronous verbs: what `.aio` gives, and what an `async def` service has by itself."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the service and return its value."""
        result: Result[R] = await self._ask(args, kwargs).run()
        return result.value

    async def call(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Call the service and return its value together with how it came about."""
        return cast(Result[R], await self._ask(args, kwargs).run())

    @overload
    def map(
        self: _One[A, Coroutine[Any, Any, B]],
        inputs: Iterable[A],
        *,
        return_errors: Literal[False] = ...,
    ) -> AsyncIterator[B]: ...
    @overload
    def map(
        self: _One[A, Coroutine[Any, Any, B]], inputs: Iterable[A], *, return_errors: Literal[True]
    ) -> AsyncIterator[B | CallError]: ...
    def map(self: Any, inputs: Iterable[Any], *, return_errors: bool = False) -> AsyncIterator[Any]:
        """Call the service once an input, at most 64 in flight; yield answers in order.

        The first error cancels the rest, unless `return_errors` yields errors in place.
        """
        return map_async(lambda item: self._ask((item,), {}), inputs, return_errors)

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        raise NotImplementedError


class _BlockingView(Blocking[P, R]):
    def __init__(self, handle: Handle[P, Any]) -> None:
        self._handle = handle

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        return self._handle._ask(args, kwargs)


class _AwaitedView(Awaited[P, R]):
    def __init__(self, handle: Handle[P, Any]) -> None:
        self._handle = handle

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        return self._handle._ask(args, kwargs)


class Service(Handle[P, R], Blocking[P, R]):
    """A `def` service: a call blocks. `.aio` is its asynchronous view."""

    @property
    def aio(self) -> Awaited[P, R]:
        """The asynchronous view: `()`, `.call` and `.map`."""
        return _AwaitedView(self)


class AsyncService(Handle[P, Coroutine[Any, Any, R]], Awaited[P, R]):
    """An `async def` service: a call is awaited. `.sync` is its blocking view."""

    @property
    def aio(self) -> Awaited[P, R]:
        """The service itself, so that every service has an asynchronous view."""
        return self

    @property
    def sync(self) -> Blocking[P, R]:
        """The blocking view: `()`, `.call` and `.map`."""
        return _BlockingView(self)


class StreamService(Handle[P, Iterator[R]]):
    """A generator service. Its iterator has a `.result` after the end."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[R]:
        """Call the service; the call starts with the first value asked for."""
        request = self._ask(args, kwargs)
        return Stream(request.stream(), request.caller.home, request.instead)

    @property
    def aio(self) -> Callable[P, AsyncStream[R]]:
        """The asynchronous view: an iterator for `async for`."""
        return lambda *args, **kwargs: self._ask(args, kwargs).stream()


class AsyncStreamService(Handle[P, AsyncIterator[R]]):
    """An async generator service. Its iterator has a `.result` after the end."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[R]:
        """Call the service; the call starts with the first value asked for."""
        return self._ask(args, kwargs).stream()

    @property
    def aio(self) -> Callable[P, AsyncStream[R]]:
        """The service itself, so that every service has an asynchronous view."""
        return self

    @property
    def sync(self) -> Callable[P, Stream[R]]:
        """The blocking view: a plain iterator."""

        def start(*args: P.args, **kwargs: P.kwargs) -> Stream[R]:
            """Start a call."""
            request = self._ask(args, kwargs)
            return Stream(request.stream(), request.caller.home, request.instead)

        return start


def _seconds(deadline: Duration) -> float:
    try:
        return parse_duration(deadline)
    except ValueError as error:
        raise UsageError(f"deadline={error}") from None


_HANDLES: dict[Kind, type[Handle[Any, Any]]] = {
    "function": Service,
    "coroutine": AsyncService,
    "stream": StreamService,
    "async stream": AsyncStreamService,
}


def handle_for(declaration: Declaration, bound: Caller | None = None) -> Handle[Any, Any]:
    """Return a new handle of the declaration's kind."""
    return _HANDLES[declaration.spec.kind](declaration, bound)
