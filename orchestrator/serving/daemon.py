"""The daemon: one node, its server, its operator's page, and its life between two signals."""

import asyncio
import gc
import logging
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from orchestrator.core.apps import App, load_app
from orchestrator.core.context import Caller
from orchestrator.core.errors import ModelUnavailable, SettingsError
from orchestrator.core.model import Runtime
from orchestrator.core.report import NodeReport
from orchestrator.core.running import process_on
from orchestrator.models.store import ModelStore
from orchestrator.serving.access.access import Access
from orchestrator.serving.attach import Attachment
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.logs import log_lost_exceptions
from orchestrator.serving.loops import name_of
from orchestrator.serving.node import Node
from orchestrator.serving.server import Server, check_access
from orchestrator.serving.settings import NodeSettings
from orchestrator.serving.watchdog import Watchdog
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from policies.facts import Tier

_log = logging.getLogger("isthmus.node")

_CUT_SECONDS = 1.0  # between the end of the drain and the end of calls that did not leave


async def check_node(tier: Tier, settings: NodeSettings, runtime: Runtime) -> NodeReport:
    """Load and warm everything, run each model's example once, and return what would be served.

    Raises:
        OrchestratorError: Something is missing or wrong.
    """
    access, binding = settings.guests(), settings.binding()
    for place in (binding, *settings.places()):
        if place:
            place.check()
    if access and binding:
        check_access(access.settings, binding)
    app = _load(settings)
    async with _node(tier, settings, runtime) as node, AsyncExitStack() as stack:
        stack.enter_context(process_on(node))
        await _start(app, node, stack)
        if problem := runtime.health():
            raise ModelUnavailable(problem)
        return node.report()


async def serve(tier: Tier, settings: NodeSettings, runtime: Runtime) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    Raises:
        OrchestratorError: It cannot start.
    """
    app = _load(settings)
    stopping = _on_signals()
    log_lost_exceptions(asyncio.get_running_loop())
    place, access = settings.audit_place(), settings.guests()
    async with _node(tier, settings, runtime, place) as node, AsyncExitStack() as stack:
        await _open(node, settings, access, stack)
        _log.info("node %s runs on the loop of %s", node.name, name_of(asyncio.get_running_loop()))
        stack.push_async_callback(node.end_reports)
        watchdog = Watchdog(node)
        if settings.metrics_port is not None:
            from orchestrator.serving.operator import OperatorPage

            page = OperatorPage(node, watchdog, settings.host, settings.metrics_port, access)
            page.start()
            stack.callback(page.stop)
        stack.enter_context(process_on(node))
        if not await _unless(stopping, _start(app, node, stack)):
            return
        _collect_garbage_again()
        watching = asyncio.create_task(watchdog.run())
        stack.callback(watching.cancel)
        await stopping.wait()
        stopping.clear()
        await _unless(stopping, node.drain(settings.lame_duck_seconds, settings.drain_seconds))
        _log.info("node %s ends", node.name)


async def _open(
    node: Node, settings: NodeSettings, access: Access | None, stack: AsyncExitStack
) -> None:
    """Let callers reach the node: on its port, and where it attaches."""
    max_bytes = settings.max_call_mib * 2**20
    if binding := settings.binding():
        server = Server(node, binding, max_bytes, settings.shared_memory_mib * 2**20, access)
        await server.start()
        stack.push_async_callback(server.stop, _CUT_SECONDS)
    for place in settings.places():
        attachment = Attachment(node, place, random.SystemRandom(), max_bytes, access=access)
        attachment.start()
        stack.push_async_callback(attachment.stop, _CUT_SECONDS)


def _collect_garbage_again() -> None:
    """Turn the collector on, if it was off while the node started, and pass over what is there."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@asynccontextmanager
async def _node(
    tier: Tier, settings: NodeSettings, runtime: Runtime, place: AuditPlace | None = None
) -> AsyncIterator[Node]:
    """Make a node; a check does without its audit log, which a running daemon may hold."""
    with open_audit(place) as audit:
        node = Node(settings.options(tier), runtime, ModelStore(settings.models), audit=audit)
        try:
            yield node
        finally:
            await node.aclose()


def _load(settings: NodeSettings) -> App:
    if not settings.app:
        raise SettingsError("a node needs the module that declares its services: give --app module")
    return load_app(settings.app)


async def _start(app: App, node: Node, stack: AsyncExitStack) -> None:
    await node.start(app.declarations, await _caller(app, node, stack))


async def _caller(app: App, node: Node, stack: AsyncExitStack) -> Caller:
    """Return what takes the calls of bodies: the app's orchestrator, or this node itself."""
    orchestrator: Any = app.attribute
    if orchestrator is None:
        return LocalCaller(node)
    if not hasattr(orchestrator, "invoke") or not hasattr(orchestrator, "__aenter__"):
        raise SettingsError("--app module:attribute must name an Orchestrator")
    if not orchestrator.settings.nodes:
        raise SettingsError(
            "the app's orchestrator is an embedded one, which would start nodes inside this node: "
            "give it nodes, or name the module alone"
        )
    caller: Caller = await stack.enter_async_context(orchestrator)
    return caller


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Do some work and say that it is done, unless a signal comes first."""
    doing, signalled = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait({doing, signalled}, return_when=asyncio.FIRST_COMPLETED)
    done = doing.done()
    doing.cancel()
    signalled.cancel()
    await asyncio.wait({doing, signalled})
    if done:
        await doing
    return done


def _on_signals() -> asyncio.Event:
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event
