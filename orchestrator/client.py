"""Orchestrator: what a program opens, and what takes the calls of its services."""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from orchestrator.core import catalogue
from orchestrator.core.apps import declarations_named, load_app
from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.call import Call, Result
from orchestrator.core.context import opened
from orchestrator.core.deadline import Clock
from orchestrator.core.erasure import Forgets, Stores
from orchestrator.core.errors import SettingsError, UsageError
from orchestrator.core.home import Home, refuse_running_loop
from orchestrator.core.service import Handle
from orchestrator.core.spec import Declaration
from orchestrator.decorators import cloud_options, decorator, edge_options
from orchestrator.dispatch.interceptors import Interceptor

if TYPE_CHECKING:
    from orchestrator.assembly import Assembled
    from orchestrator.settings.caller import Settings

App = str | ModuleType | Handle[Any, Any] | type[Any] | Iterable[Any] | None
"""An import path, a module, or services and classes of services; None is all declared so far."""


class Orchestrator:
    """Takes the calls of services while it is open, and brings them to nodes.

    Open it with `with` in a plain program (it then runs an event loop in a thread of its own)
    or with `async with` on the loop that makes the calls. When it is open, every service of
    the app has been checked, and warmed where it runs in this process.

    Args:
        settings: A settings file, Settings, or a mapping of their keys. Without nodes in them,
            an edge and a cloud are embedded in this process: no daemon, no port.
        app: What to check and warm at once; other services are when they are first called.
        interceptors: See every call, the first one outermost.
        clock: A clock that never goes back, in seconds.
        source: Where ids and jitter come from.
    """

    def __init__(
        self,
        settings: "str | Path | Settings | Mapping[str, Any] | None" = None,
        *,
        app: App = None,
        interceptors: Sequence[Interceptor] = (),
        clock: Clock = time.monotonic,
        source: random.Random | None = None,
    ) -> None:
        self.edge_service = decorator(edge_options, "edge", self)
        self.cloud_service = decorator(cloud_options, "cloud", self)
        self.clock = clock
        self.random = source or random.Random()  # noqa: S311  ids are no secrets
        self.reveal_allowed = True
        self._given = settings
        self._app = app
        self._interceptors = interceptors
        self._home: Home | None = None
        self._inside: Assembled | None = None
        self._active: AbstractContextManager[None] | None = None
        self._stack = AsyncExitStack()
        self._prepared: set[Declaration] = set()
        self._stores = Stores()

    @property
    def home(self) -> Home:
        """The loop that its work is done on; raises UsageError while it is closed."""
        if self._home is None:
            raise UsageError("the orchestrator is not open: use it in `with` or `async with`")
        return self._home

    @property
    def settings(self) -> "Settings":
        """Its settings, read anew; raises SettingsError if they are wrong."""
        from orchestrator.settings.caller import Settings, load_settings

        if isinstance(self._given, Settings):
            return self._given
        if isinstance(self._given, str | Path):
            return load_settings(Path(self._given))
        given: object = self._given
        if not isinstance(given, Mapping | None):
            raise SettingsError(
                "an orchestrator takes a settings file, Settings, or a mapping of their keys, not "
                f"{type(given).__name__}"
            )
        return load_settings(given=self._given)

    @property
    def audit(self) -> Audit:
        """Where it writes down what happens to labelled data; nowhere while it is closed."""
        return self._inside.audit if self._inside else LoggedAudit()

    @property
    def problems(self) -> Mapping[str, str]:
        """Each node's name, and why it takes no calls now; empty words if it does."""
        endpoints = self._inside.directory.endpoints if self._inside else []
        return {endpoint.name: endpoint.problem for endpoint in endpoints}

    def keeps(self, name: str, store: Forgets) -> None:
        """Say that a store keeps data of subjects; raises UsageError if another has its name."""
        self._stores.add(name, store)

    def forget(self, subject: str) -> dict[str, int]:
        """Ask every store to forget a subject, and return how many entries each has dropped.

        Raises:
            UsageError: The subject is empty.
            ExceptionGroup: Some stores failed, each noted by name; all others have forgotten.
        """
        return self._stores.forget(subject, self.audit)

    def __enter__(self) -> Self:
        refuse_running_loop("`async with`")
        home = self._take_home(None)
        try:
            home.wait(home.submit(self._open()))
        except BaseException:
            self._home = None
            home.close()
            raise
        return self._activated()

    def __exit__(self, *error: object) -> None:
        self._deactivate()
        home, self._home = self.home, None
        home.wait(home.submit(self._close()))
        home.close()

    async def __aenter__(self) -> Self:
        self._take_home(asyncio.get_running_loop())
        try:
            await self._open()
        except BaseException:
            self._home = None
            raise
        return self._activated()

    async def __aexit__(self, *error: object) -> None:
        self._deactivate()
        self._home = None
        await self._close()

    def is_prepared(self, declaration: Declaration) -> bool:
        """Say whether a service was checked and warmed."""
        return declaration in self._prepared

    async def prepare(self, declaration: Declaration) -> None:
        """Check and warm a service that is called for the first time."""
        if self._inside:
            await self._inside.prepare(declaration)
            self._prepared.add(declaration)

    def invoke(self, call: Call) -> Coroutine[Any, Any, Result[Any]]:
        """Bring a call to a node; on the home loop. A stream's value is its Chunks."""
        if self._inside is None:
            raise UsageError("the orchestrator is not open: use it in `with` or `async with`")
        return self._inside.way(call)

    def _take_home(self, loop: asyncio.AbstractEventLoop | None) -> Home:
        if self._home is not None:
            raise UsageError("the orchestrator is open already")
        self._home = Home(loop)
        return self._home

    def _activated(self) -> Self:
        self._active = opened(self)
        self._active.__enter__()
        return self

    def _deactivate(self) -> None:
        if self._active:
            self._active.__exit__(None, None, None)

    async def _open(self) -> None:
        from orchestrator.assembly import assemble

        declarations = self._declarations()
        settings = self.settings
        self.reveal_allowed = settings.privacy.reveal == "audited"
        self._inside = await self._stack.enter_async_context(
            assemble(settings, declarations, self, self._interceptors, self.clock, self.random)
        )
        self._prepared = set(declarations)

    async def _close(self) -> None:
        self._inside = None
        self._prepared.clear()
        await self._stack.aclose()

    def _declarations(self) -> list[Declaration]:
        if self._app is None:
            return catalogue.declared()
        if isinstance(self._app, ModuleType):
            return load_app(self._app.__name__).declarations
        if isinstance(self._app, str):
            return load_app(self._app).declarations
        return declarations_named(self._app)


class EdgeCloudOrchestrator(Orchestrator):
    """An orchestrator named by its nodes instead of a settings file.

    Args:
        edge_nodes: Edge nodes: addresses, or mappings of the keys of a node's settings entry.
            A bare address has clearance public, since nothing says what it may see.
        cloud_zone: The cloud: an address, a DNS name and port whose records are the nodes, or
            a mapping of the keys of a node's settings entry.
        insecure: Whether bare addresses are spoken to in plaintext.
        app: What to check and warm at once.
        interceptors: See every call, the first one outermost.

    Raises:
        SettingsError: No node is named, or one in another way.
    """

    def __init__(
        self,
        *,
        edge_nodes: str | Sequence[str | Mapping[str, Any]] = (),
        cloud_zone: str | Mapping[str, Any] = "",
        insecure: bool = False,
        app: App = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        alone = isinstance(edge_nodes, str | Mapping) or not isinstance(edge_nodes, Iterable)
        nodes = [
            _entry({"name": f"edge-{number}", "tier": "edge"}, "address", node, insecure)
            for number, node in enumerate([edge_nodes] if alone else edge_nodes, 1)
        ]
        if cloud_zone:
            nodes.append(_entry({"name": "cloud", "tier": "cloud"}, "zone", cloud_zone, insecure))
        if not nodes:
            raise SettingsError(
                "no node is named: give edge_nodes= or cloud_zone=, or use Orchestrator(), which "
                "embeds an edge and a cloud in this process"
            )
        super().__init__({"nodes": nodes}, app=app, interceptors=interceptors)


def _entry(defaults: dict[str, Any], key: str, given: Any, insecure: bool) -> dict[str, Any]:
    """Return a node's settings entry from its address, or from a mapping of the entry's keys."""
    if isinstance(given, str):
        return {**defaults, key: given, "insecure": insecure}
    if isinstance(given, Mapping):
        return {**defaults, **given}
    raise SettingsError(
        'edge_nodes= and cloud_zone= take addresses such as "127.0.0.1:50051", or mappings of the '
        f"keys of a node's settings entry, not {type(given).__name__}"
    )
