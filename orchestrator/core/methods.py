"""Services that are methods: `@method` marks one, and the decorated class serves them all."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from orchestrator.core.errors import UsageError
from orchestrator.core.service import (
    AsyncService,
    AsyncStreamService,
    Handle,
    Service,
    StreamService,
)

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
U = TypeVar("U")


class NotServed(UsageError, AttributeError):
    """A marked method of a class that is not decorated; tools see no such attribute."""


class method(Generic[C, P, R]):  # noqa: N801 - it is written as a decorator
    """Marks a method of a decorated class as a service.

    On the class it gives the service's handle, on an instance the plain method:
    `Ranker.score(x)` is routed, `Ranker().score(x)` is not.
    """

    def __init__(self, body: Callable[Concatenate[C, P], R]) -> None:
        self.body = body
        self._handles: dict[type[Any], Handle[Any, Any]] = {}

    def serve(self, owner: type[Any], handle: Handle[Any, Any]) -> None:
        """Set the handle that the owner gives; the class decorator calls this."""
        self._handles[owner] = handle

    def served_by(self, owner: type[Any]) -> Handle[Any, Any] | None:
        """Return the handle that the owner gives, if the class is decorated."""
        return self._handles.get(owner)

    @overload
    def __get__(
        self: "method[C, P, Coroutine[Any, Any, U]]", instance: None, owner: type[C]
    ) -> AsyncService[P, U]: ...
    @overload
    def __get__(
        self: "method[C, P, AsyncIterator[U]]", instance: None, owner: type[C]
    ) -> AsyncStreamService[P, U]: ...
    @overload
    def __get__(
        self: "method[C, P, Iterator[U]]", instance: None, owner: type[C]
    ) -> StreamService[P, U]: ...
    @overload
    def __get__(self, instance: None, owner: type[C]) -> Service[P, R]: ...
    @overload
    def __get__(self, instance: C, owner: type[C]) -> Callable[P, R]: ...
    def __get__(self, instance: C | None, owner: type[C]) -> Any:
        if instance is not None:
            return self.body.__get__(instance, owner)
        if owner not in self._handles:
            raise NotServed(
                f"{owner.__name__} is no service yet: decorate the class with @edge_service or "
                "@cloud_service"
            )
        return self._handles[owner]


def handles_of(thing: Any) -> list[Handle[Any, Any]]:
    """Return the handles of a service, or of a class of services; none of anything else."""
    if isinstance(thing, Handle):
        return [thing]
    if not isinstance(thing, type):
        return []
    marked = (part for _, part in inspect.getmembers_static(thing) if isinstance(part, method))
    return [handle for part in marked if (handle := part.served_by(thing))]
