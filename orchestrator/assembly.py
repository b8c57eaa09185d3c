"""The composition root of the caller's side: settings to directory, router, dispatcher.

Apart from `client`, which imports it when an orchestrator is opened: a program that only
declares services pays nothing for it.
"""

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from orchestrator.core.audit import Audit
from orchestrator.core.context import Caller
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import SettingsError
from orchestrator.core.spec import Declaration
from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.dispatch.interceptors import Interceptor, Next, wrap
from orchestrator.dispatch.pseudonymising import Pseudonymising
from orchestrator.privacy.catalog import recognisers_named
from orchestrator.privacy.recognisers import Recogniser
from orchestrator.resilience.retry import RetryBudget
from orchestrator.routing.checks import check_clearances
from orchestrator.routing.connect import attachable, connect, listen_tls
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.routing.router import Router
from orchestrator.routing.zone import Zone
from orchestrator.serving.embedded import embedded_nodes
from orchestrator.serving.node import Node
from orchestrator.serving.runtimes import how_to_get
from orchestrator.settings.audit import AuditSettings
from orchestrator.settings.caller import Settings
from orchestrator.settings.nodes import NodeEntry
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.guard import Scanner
from orchestrator.wire.inprocess import InProcessChannel
from orchestrator.wire.patterns import PatternScanner
from policies.catalog import build_chain
from policies.chain import Chain
from policies.facts import Tier

_FIRST_NEWS_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Assembled:
    """The caller's side, ready for calls.

    Attributes:
        way: The way of a call, interceptors included.
        directory: The endpoints.
        nodes: The nodes in this process.
        audit: Where it writes down what happens to labelled data.
    """

    way: Next
    directory: Directory
    nodes: list[Node]
    audit: Audit

    async def prepare(self, declaration: Declaration) -> None:
        """Check and warm a service that is called for the first time."""
        check_clearances([declaration], self.directory.endpoints)
        for node in self.nodes:
            await node.serve(declaration)
            if endpoint := self.directory.find(node.name):
                endpoint.saw_report(node.report())


@asynccontextmanager
async def assemble(
    settings: Settings,
    declarations: list[Declaration],
    caller: Caller,
    interceptors: Sequence[Interceptor],
    clock: Clock,
    source: random.Random,
) -> AsyncIterator[Assembled]:
    """Build the caller's side on the running loop, and take it down at the end.

    Args:
        settings: Its settings; without nodes in them, an edge and a cloud are embedded.
        declarations: What is checked, and warmed where it runs in this process.
        caller: What takes the calls of bodies in this process.
        interceptors: See every call, the first one outermost.
        clock: A clock that never goes back, in seconds.
        source: Where jitter comes from.

    Raises:
        SettingsError: A rule, a TLS file or an audit log that the settings name cannot be used.
        ModelUnavailable: A model that an embedded node needs is missing or damaged.
        DefinitionError: A service takes data that no node it may use is cleared for.
    """
    chain = _chain(settings)
    async with AsyncExitStack() as stack:
        audit = stack.enter_context(open_audit(_audit_place(settings.audit)))
        nodes: list[Node] = []
        if not settings.nodes:
            store = settings.models.store
            embedded = embedded_nodes(declarations, store, caller, clock, audit)
            nodes = await stack.enter_async_context(embedded)
        directory = Directory(source, clock)
        stack.push_async_callback(directory.aclose)
        await _connect(settings, directory, clock, stack)
        for node in nodes:
            directory.add(_embedded_endpoint(node, settings, clock))
        await directory.first_news(_FIRST_NEWS_SECONDS)
        check_clearances(declarations, directory.endpoints)
        router = Router(directory, chain, _missing(settings, nodes))
        dispatcher = Dispatcher(router, RetryBudget(clock=clock), source, clock, audit)
        recognisers = _recognisers(settings)
        pseudonymising = Pseudonymising(dispatcher.invoke, directory, recognisers, audit)
        way = wrap(pseudonymising, interceptors)
        yield Assembled(way, directory, nodes, audit)


async def _connect(
    settings: Settings, directory: Directory, clock: Clock, stack: AsyncExitStack
) -> None:
    """Enter the nodes of the settings in the directory, and follow their zones."""
    max_bytes, shared = settings.max_call_mib * 2**20, settings.shared_memory_mib * 2**20
    scanner = _scanner(settings)

    def zone_node(entry: NodeEntry, address: str) -> Endpoint:
        """Return the endpoint of one address of a zone."""
        return connect(entry, max_bytes, clock, address, f"{entry.name}/{address}", shared, scanner)

    await _listen(settings, directory, clock, stack)
    for entry in settings.nodes:
        if entry.address:
            directory.add(connect(entry, max_bytes, clock, shared_bytes=shared, scanner=scanner))
        if not entry.zone:
            continue
        zone = Zone(entry.zone, directory, functools.partial(zone_node, entry))
        await zone.refresh()
        task = asyncio.create_task(zone.follow())
        stack.callback(task.cancel)


async def _listen(
    settings: Settings, directory: Directory, clock: Clock, stack: AsyncExitStack
) -> None:
    """Enter the nodes that attach, and listen for them."""
    if (listen := settings.listen) is None:
        return
    max_bytes = settings.max_call_mib * 2**20
    entries = [entry for entry in settings.nodes if entry.attach]
    scanner = _scanner(settings)
    nodes = [attachable(entry, listen, max_bytes, clock, scanner) for entry in entries]
    links = {node.identity: node.link for node in nodes}
    server = AttachServer(listen.address, listen_tls(listen), links, clock)
    await server.start()
    stack.push_async_callback(server.aclose)
    for node in nodes:
        directory.add(node.endpoint)


def _embedded_endpoint(node: Node, settings: Settings, clock: Clock) -> Endpoint:
    max_bytes = settings.max_call_mib * 2**20
    channel = InProcessChannel(node, node.clearance, max_bytes, _scanner(settings))
    options = EndpointOptions(
        name=node.name, tier=node.tier, address="this process", clearance=node.clearance
    )
    return Endpoint(options, channel, clock)


def _audit_place(settings: AuditSettings) -> AuditPlace | None:
    if settings.path is None:
        return None
    return AuditPlace(settings.path, settings.key, settings.anchor, settings.anchor_seconds)


def _scanner(settings: Settings) -> Scanner | None:
    return PatternScanner(settings.privacy.scan) if settings.privacy.scan else None


def _chain(settings: Settings) -> Chain:
    rules = settings.policies
    try:
        return build_chain(rules.filters, rules.scorers, ms_per_dollar=rules.ms_per_dollar)
    except LookupError as error:
        raise SettingsError(f"policies: {error.args[0]}") from error


def _missing(settings: Settings, nodes: list[Node]) -> dict[Tier, str]:
    """Return how to get a node, for each tier that has none."""
    tiers: tuple[Tier, ...] = ("edge", "cloud")
    if settings.nodes:
        named = {entry.tier for entry in settings.nodes}
        return {t: f"the settings name no {t} node" for t in tiers if t not in named}
    return {t: how_to_get(t) for t in tiers if t not in {node.tier for node in nodes}}


def _recognisers(settings: Settings) -> Sequence[Recogniser]:
    chosen = settings.privacy
    named = {"names": chosen.recognisers} if chosen.recognisers else {}
    try:
        return recognisers_named(**named, patterns=chosen.patterns, words=chosen.words)
    except ValueError as error:
        raise SettingsError(f"privacy: {error}") from error
