"""`@edge_service` and `@cloud_service`: they check a declaration and enter it, and do no more."""

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from orchestrator.core import catalogue
from orchestrator.core.call import Privacy
from orchestrator.core.context import Caller
from orchestrator.core.deadline import Duration, parse_duration
from orchestrator.core.errors import DefinitionError
from orchestrator.core.methods import method
from orchestrator.core.model import Model
from orchestrator.core.options import Options
from orchestrator.core.schema import Schema
from orchestrator.core.service import (
    AsyncService,
    AsyncStreamService,
    Service,
    StreamService,
    handle_for,
)
from orchestrator.core.spec import (
    DEFAULT_DEADLINE,
    Declaration,
    Kind,
    ServiceSpec,
    read_signature,
)
from policies.facts import Tier

P = ParamSpec("P")
O = ParamSpec("O")  # noqa: E741 - the options
R = TypeVar("R")
C = TypeVar("C")


class Decorator(Protocol[O]):
    """What `@edge_service` and `@cloud_service` are; O are the options of each."""

    # The narrow shapes stand first: hence the ignores.
    @overload  # with brackets: itself again, now with options
    def __call__(self, body: None = None, /, *a: O.args, **options: O.kwargs) -> "Decorator[O]": ...
    @overload
    def __call__(self, body: type[C], /, *a: O.args, **options: O.kwargs) -> type[C]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, body: Callable[P, Coroutine[Any, Any, R]], /, *a: O.args, **options: O.kwargs
    ) -> AsyncService[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, body: Callable[P, AsyncIterator[R]], /, *a: O.args, **options: O.kwargs
    ) -> AsyncStreamService[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, body: Callable[P, Iterator[R]], /, *a: O.args, **options: O.kwargs
    ) -> StreamService[P, R]: ...
    @overload
    def __call__(
        self, body: Callable[P, R], /, *a: O.args, **options: O.kwargs
    ) -> Service[P, R]: ...


def edge_options(
    *,
    overflow: Literal["cloud"] | None = None,
    fallback: Literal["cloud"] | None = None,
    models: Iterable[Model] = (),
    deadline: Duration = DEFAULT_DEADLINE,
    idempotent: bool | None = None,
    declassifies: bool = False,
    inline: bool = False,
    name: str = "",
) -> Options:
    """Make a service whose home is the edge.

    Args:
        overflow: "cloud" makes both tiers candidates; cost decides.
        fallback: "cloud" uses the cloud only when no edge node can take the call.
        models: The models its body uses; every node that serves it loads them.
        deadline: How long a call may take, such as "300ms".
        idempotent: Whether running a call twice does no harm, so that a call whose outcome is
            unknown may be tried elsewhere; by default only a model's own service is.
        declassifies: Whether it may give plain results for labelled arguments. What it calls
            carries the label of its arguments only: it is trusted code.
        inline: Whether a `def` body is so cheap that it may run on the node's event loop.
        name: Its name; by default the function's qualified name, or the model's name.
    """
    return Options(**locals())


def cloud_options(
    *,
    overflow: Literal["edge"] | None = None,
    fallback: Literal["edge"] | None = None,
    models: Iterable[Model] = (),
    deadline: Duration = DEFAULT_DEADLINE,
    idempotent: bool | None = None,
    inline: bool = False,
    name: str = "",
    privacy: Privacy = "refuse",
) -> Options:
    """Make a service whose home is the cloud.

    Args:
        overflow: "edge" makes both tiers candidates; cost decides.
        fallback: "edge" uses the edge only when no cloud node can take the call.
        models: The models its body uses; every node that serves it loads them.
        deadline: How long a call may take, such as "300ms".
        idempotent: Whether running a call twice does no harm, so that a call whose outcome is
            unknown may be tried elsewhere; by default only a model's own service is.
        inline: Whether a `def` body is so cheap that it may run on the node's event loop.
        name: Its name; by default the function's qualified name, or the model's name.
        privacy: What becomes of a call whose label no cloud node is cleared for: "refuse" raises
            PrivacyRefused; "local" keeps it at the edge; "pseudonymise" replaces the private
            values of labelled text up to sensitive by tokens, sends it as internal data, and
            restores the answer, all at the caller.
    """
    return Options(**locals())


def decorator(
    options: Callable[O, Options], home: Tier, bound: Caller | None = None
) -> Decorator[O]:
    """Return a decorator for services of one home tier.

    Args:
        options: Reads what the decorator takes besides the body.
        home: The tier.
        bound: The orchestrator that takes the calls while it is open.
    """

    @functools.wraps(options)
    def decorate(body: Any = None, /, *args: O.args, **chosen: O.kwargs) -> Any:
        told = _told(options, home, *args, **chosen)
        if body is None:
            if "models" in chosen:  # an iterator of models would be spent by now
                chosen["models"] = told.models
            return functools.partial(decorate, *args, **chosen)
        if isinstance(body, type):
            return _serve_class(body, home, told, bound)
        return handle_for(_declare(body, home, told), bound)

    return cast(Decorator[O], decorate)


def _told(options: Callable[O, Options], home: Tier, *args: O.args, **kwargs: O.kwargs) -> Options:
    """Read the options; what a decorator does not take is a DefinitionError, not a TypeError."""
    try:
        return options(*args, **kwargs)
    except TypeError as error:
        if home == "edge" and "privacy" in kwargs:
            raise DefinitionError(
                "privacy= says what becomes of labelled data on its way to the cloud, and an edge "
                "service keeps it at the edge: leave it out, or use @cloud_service"
            ) from None
        if home == "cloud" and kwargs.get("declassifies"):
            raise DefinitionError("a declassifier runs at the edge: use @edge_service") from None
        _, _, said = str(error).partition("() ")
        raise DefinitionError(f"@{home}_service {said}") from None


edge_service = decorator(edge_options, "edge")
cloud_service = decorator(cloud_options, "cloud")


def _declare(body: Any, home: Tier, told: Options, owner: type[Any] | None = None) -> Declaration:
    """Check a function, a method or a model, and enter it in the catalogue."""
    if isinstance(body, Model):
        return _declare_model(body, home, told)
    if not inspect.isfunction(body):
        raise DefinitionError(f"{body!r} cannot be a service: take a function, a class or a model")
    name = told.name or body.__qualname__
    kind, schema = read_signature(body, name, method=owner is not None)
    _check_labels(name, schema, told)
    where = f"{body.__code__.co_filename}:{body.__code__.co_firstlineno}"
    spec = _spec(name, body.__module__, where, kind, home, schema, told)
    return _entered(Declaration(spec, body, owner))


def _declare_model(model: Model, home: Tier, told: Options) -> Declaration:
    """Make a service of a model."""
    name = told.name or model.name
    kind, schema = read_signature(model.__call__, name)
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    module = str(frame.f_globals.get("__name__", "__main__"))
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    told = replace(
        told, models=(model,), idempotent=True if told.idempotent is None else told.idempotent
    )
    _check_privacy(name, schema, told)
    spec = _spec(name, module, where, kind, home, schema, told)
    return _entered(Declaration(spec, model.__call__, model=model))


def _spec(
    name: str, module: str, where: str, kind: Kind, home: Tier, schema: Schema, told: Options
) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        module=module,
        where=where,
        kind=kind,
        placement=told.placement(home),
        schema=schema,
        models=tuple(told.models),
        deadline=_deadline(told.deadline),
        idempotent=bool(told.idempotent),
        declassifies=told.declassifies,
        inline=told.inline,
        privacy=told.privacy,
    )


def _deadline(duration: Duration) -> float:
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise DefinitionError(f"deadline={error}") from None


def _entered(declaration: Declaration) -> Declaration:
    catalogue.enter(declaration)
    return declaration


def _check_labels(name: str, schema: Schema, told: Options) -> None:
    if schema.takes_labels and not (told.declassifies or schema.result.sealed):
        raise DefinitionError(
            f"{name} takes labelled data and gives {schema.result.text}: label its result, or "
            "declare declassifies=True on an edge service if it removes what is private"
        )
    if told.declassifies and not schema.takes_labels:
        raise DefinitionError(f"{name} declassifies, but takes nothing labelled")
    _check_privacy(name, schema, told)


def _check_privacy(name: str, schema: Schema, told: Options) -> None:
    if told.privacy != "refuse" and not schema.takes_labels:
        raise DefinitionError(
            f"{name} takes nothing labelled, so privacy={told.privacy!r} has nothing to protect: "
            "label a parameter, such as Sensitive[str], or leave it out"
        )


def _needs_arguments(owner: type[Any]) -> bool:
    try:
        parameters = inspect.signature(owner).parameters.values()
    except ValueError:  # a class of C code that does not say: it is tried on the node
        return False
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in free for p in parameters)


def _serve_class(owner: type[C], home: Tier, told: Options, bound: Caller | None) -> type[C]:
    """Make a service of every marked method of a class."""
    marked = [(n, part) for n, part in inspect.getmembers_static(owner) if isinstance(part, method)]
    if not marked:
        raise DefinitionError(f"{owner.__qualname__} has no service: mark its methods with @method")
    if _needs_arguments(owner):
        raise DefinitionError(
            f"{owner.__qualname__}() takes arguments: every node makes one instance by itself, so "
            "its constructor must not need any"
        )
    for name, part in marked:
        named = replace(told, name=f"{told.name or owner.__qualname__}.{name}")
        part.serve(owner, handle_for(_declare(part.body, home, named, owner), bound))
    return owner
