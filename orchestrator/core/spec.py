"""What a decorator declares: a frozen ServiceSpec, and the bodies that fulfil it on each tier."""

import hashlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from orchestrator.core.annotations import read, resolved
from orchestrator.core.call import Privacy
from orchestrator.core.errors import DefinitionError
from orchestrator.core.model import Model
from orchestrator.core.schema import Schema
from policies.facts import Placement, Tier

Kind = Literal["function", "coroutine", "stream", "async stream"]
"""How a body is run; the return annotation and the word `async` decide it."""

DEFAULT_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service, as its decorator declared it.

    Attributes:
        name: Its name, unique among the services of an app.
        module: The module it was declared in.
        where: File and line of the declaration.
        kind: How its body is run.
        placement: The tiers it may use.
        schema: What it takes and gives.
        models: The models its body uses.
        deadline: Seconds a call may take.
        idempotent: Whether running a call twice does no harm.
        declassifies: Whether it may lower a label.
        inline: Whether its blocking body is cheap enough for the event loop.
        privacy: What becomes of a call that no cloud node is cleared for.
        streams: Whether it answers with a stream.
        version: The digest of signature, labels and kind.
    """

    name: str
    module: str
    where: str
    kind: Kind
    placement: Placement
    schema: Schema
    models: tuple[Model, ...] = ()
    deadline: float = DEFAULT_DEADLINE
    idempotent: bool = False
    declassifies: bool = False
    inline: bool = False
    privacy: Privacy = "refuse"
    streams: bool = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        streams = self.kind in ("stream", "async stream")
        text = f"{streams}{self.schema.text}{self.declassifies}"
        object.__setattr__(self, "streams", streams)
        object.__setattr__(self, "version", hashlib.sha256(text.encode()).hexdigest()[:12])

    def runs_on(self, tier: Tier) -> bool:
        """Say whether any of its calls may run on that tier."""
        return self.placement.allows(tier) or (tier == "edge" and self.privacy == "local")


@dataclass(slots=True, eq=False)
class Declaration:
    """A declared service: its spec, and the user's code.

    Attributes:
        spec: The frozen spec.
        body: The function; of a method service, the plain function with `self`.
        owner: The class of a method service.
        model: The model that is the service itself.
        bodies: Bodies that replace `body` on one tier.
    """

    spec: ServiceSpec
    body: Callable[..., Any]
    owner: type[Any] | None = None
    model: Model | None = None
    bodies: dict[Tier, Callable[..., Any]] = field(default_factory=dict)

    def body_on(self, tier: Tier) -> Callable[..., Any]:
        """Return the function that fulfils the service on that tier; a model's is awaited."""
        if self.model:
            return self.model.aio
        return self.bodies.get(tier, self.body)

    @property
    def origin(self) -> object:
        """What tells one declaration from another in the same line of code."""
        return self.model or self.body.__code__


def kind_of(body: Callable[..., Any], result: Any, name: str) -> tuple[Kind, Any]:
    """Return how a body is run and the annotation of its result, or of one item of a stream.

    Raises:
        DefinitionError: The code and its return annotation say different things.
    """
    origin = get_origin(result)
    awaited, yields_later = inspect.iscoroutinefunction(body), inspect.isasyncgenfunction(body)
    item = (*get_args(result), inspect.Parameter.empty)[0]
    if origin in (AsyncIterator, AsyncGenerator):
        if not yields_later:
            raise DefinitionError(
                f"{name} returns an async iterator: write `yield` in its body, an `async def`"
            )
        return "async stream", item
    if origin in (Iterator, Generator):
        if awaited or yields_later:
            raise DefinitionError(
                f"{name} is an `async def` with an Iterator: annotate its result as "
                "AsyncIterator[...] and yield, or make it a plain `def`"
            )
        return "stream", item
    if inspect.isgeneratorfunction(body) or yields_later:
        wanted = "AsyncIterator" if yields_later else "Iterator"
        raise DefinitionError(f"{name} yields: annotate its result as {wanted}[...]")
    return ("coroutine" if awaited else "function"), result


def read_signature(
    body: Callable[..., Any], name: str, *, method: bool = False
) -> tuple[Kind, Schema]:
    """Return how a body is run and what it takes and gives.

    Raises:
        DefinitionError: An annotation is missing, unknown, or names a type that cannot travel.
    """
    signature = inspect.signature(body)
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    hints = resolved(body, name)
    for parameter in parameters:
        _check_parameter(parameter, hints, name)
    if "return" not in hints:
        raise DefinitionError(f"{name}: its result has no annotation; write -> None if it has none")
    kind, result = kind_of(body, hints["return"], name)
    return kind, Schema(
        name,
        signature.replace(parameters=parameters),
        {p.name: read(hints[p.name], f"{name}: parameter {p.name!r}") for p in parameters},
        read(result, f"{name}: its result"),
    )


def _check_parameter(parameter: inspect.Parameter, hints: dict[str, Any], name: str) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise DefinitionError(f"{name} takes *{parameter.name}: spell its parameters out")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise DefinitionError(
            f"{name}: arguments travel by name, and {parameter.name!r} stands before a `/`"
        )
    if parameter.name not in hints:
        cure = ""
        if parameter.name == "self":
            cure = "; of a class, decorate the class and mark its methods with @method"
        raise DefinitionError(f"{name}: parameter {parameter.name!r} has no annotation{cure}")
