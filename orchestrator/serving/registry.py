"""What a node serves: declarations by name, their bodies bound, and one instance a class."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.catalogue import is_reload, two_of_one_name
from orchestrator.core.errors import DefinitionError, InvalidInput, NoRoute
from orchestrator.core.means import DecayingMean
from orchestrator.core.report import ServiceReport
from orchestrator.core.spec import Declaration, ServiceSpec
from orchestrator.serving.threads import in_daemon_thread
from policies.facts import Tier


@dataclass(frozen=True, slots=True)
class Served:
    """One service on this node.

    Attributes:
        declaration: What its decorator declared.
        body: What fulfils it on this tier.
        service_ms: The work that one call takes.
        spec: The declaration's spec.
        awaited: Whether the body gives a coroutine.
        on_loop: Whether the body runs on the event loop.
    """

    declaration: Declaration
    body: Callable[..., Any]
    service_ms: DecayingMean
    spec: ServiceSpec = field(init=False)
    awaited: bool = field(init=False)
    on_loop: bool = field(init=False)

    def __post_init__(self) -> None:
        set_once, spec = object.__setattr__, self.declaration.spec
        awaited = inspect.iscoroutinefunction(self.body)
        set_once(self, "spec", spec)
        set_once(self, "awaited", awaited)
        set_once(self, "on_loop", awaited or spec.inline or inspect.isasyncgenfunction(self.body))

    def report(self) -> ServiceReport:
        """Return what the node says of it."""
        spec = self.spec
        return ServiceReport(
            spec.name, spec.version, spec.schema.text, spec.streams, self.service_ms.value
        )


class Registry:
    """The services of one node.

    Args:
        tier: Where the node stands.
    """

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._services: dict[str, Served] = {}
        self._instances: dict[type[Any], Any] = {}

    @property
    def reports(self) -> tuple[ServiceReport, ...]:
        """What is served."""
        return tuple(served.report() for served in self._services.values())

    def serves(self, declaration: Declaration) -> bool:
        """Say whether this very service is served."""
        known = self._services.get(declaration.spec.name)
        return known is not None and known.declaration is declaration

    async def add(self, declaration: Declaration) -> None:
        """Serve a service; the constructor of its class runs once, in a thread.

        Raises:
            DefinitionError: Another service of that name is served, an annotation makes no
                sense, or the constructor of its class failed.
        """
        name = declaration.spec.name
        known = self._services.get(name)
        if known and not is_reload(known.declaration, declaration):
            raise two_of_one_name(known.declaration, declaration)
        declaration.spec.schema.compile()
        body = declaration.body_on(self._tier)
        if declaration.owner is not None:
            body = functools.partial(body, await self._instance_of(declaration.owner))
        self._services[name] = Served(declaration, body, DecayingMean())

    async def _instance_of(self, owner: type[Any]) -> Any:
        if owner not in self._instances:
            try:
                self._instances[owner] = await in_daemon_thread(owner)
            except Exception as error:
                raise DefinitionError(
                    f"{owner.__qualname__}() failed when the node made its instance: "
                    f"{type(error).__name__}: {error}"
                ) from error
        return self._instances[owner]

    def name_of(self, name: str) -> str:
        """Return the name if it is served, so that strangers cannot choose what is counted."""
        return name if name in self._services else "unknown"

    def find(self, name: str, version: str, *, stream: bool) -> Served:
        """Return the service that a call names.

        Raises:
            NoRoute: This node does not serve it, or another version of it.
            InvalidInput: It streams and the call does not, or the other way round.
        """
        served = self._services.get(name)
        if served is None:
            raise NoRoute("this node does not serve that service", shareable=True)
        if version and version != served.spec.version:
            raise NoRoute(
                f"this node serves version {served.spec.version} of it: update the older side",
                shareable=True,
            )
        if stream != served.spec.streams:
            wanted = "Stream" if served.spec.streams else "Invoke"
            raise InvalidInput(f"{name} is called by {wanted}", shareable=True)
        return served
