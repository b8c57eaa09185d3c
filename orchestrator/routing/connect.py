"""From an entry of the settings to an endpoint: which channel, and what may go through it."""

import time
from typing import NamedTuple

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import SettingsError
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.settings.nodes import ListenSettings, NodeEntry
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.channel import Channel
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.guard import Scanner
from orchestrator.wire.memory import SHARED_BYTES
from orchestrator.wire.renewed import RenewedChannel
from orchestrator.wire.security import TlsFiles, client_credentials, is_local, read_token
from policies.facts import Clearance, Level


def clearance_at(entry: NodeEntry, address: str) -> Clearance:
    """Return the most private data that may go to an address.

    Plaintext keeps the configured clearance on this machine only: anywhere else nobody knows
    who listens, so nothing but public data may go there.
    """
    return _clearance(entry, address, insecure=entry.insecure)


def clearance_when_attached(entry: NodeEntry, listen: ListenSettings) -> Clearance:
    """Return the most private data that may go to a node that attaches; see `clearance_at`."""
    return _clearance(entry, listen.address, insecure=listen.insecure)


def _clearance(entry: NodeEntry, address: str, *, insecure: bool) -> Clearance:
    if insecure and not is_local(address):
        return Clearance(Level.PUBLIC)
    return entry.clearance


def connect(
    entry: NodeEntry,
    max_bytes: int,
    clock: Clock = time.monotonic,
    address: str = "",
    name: str = "",
    shared_bytes: int = SHARED_BYTES,
    scanner: Scanner | None = None,
) -> Endpoint:
    """Return the endpoint of a node; no connection is made yet.

    Args:
        entry: What the settings say of it.
        max_bytes: The most that one call may carry.
        clock: The caller's clock.
        address: One address of a zone, instead of the entry's own.
        name: The name of that one node.
        shared_bytes: The most it shares with a node on this machine; 0 is nothing.
        scanner: Looks at what goes to a public place.

    Raises:
        SettingsError: A file cannot be read, or the token would go out in plaintext.
    """
    address = address or entry.address
    clearance = clearance_at(entry, address)
    check_token(entry, address)
    # Behind a zone every certificate bears the zone's name, unless the settings say another.
    identity = entry.tls.identity or entry.zone.rpartition(":")[0]

    def make() -> Channel:
        """Return a channel that shows what the files hold now."""
        return SessionChannel(
            address,
            clearance,
            None if entry.insecure else client_credentials(tls_of(entry)),
            identity,
            max_bytes,
            shared_bytes=shared_bytes,
            session_socket=entry.session_socket,
            scanner=scanner,
            token=read_token(entry.token) if entry.token else "",
        )

    tls = entry.tls
    files = [file for file in (tls.ca, tls.cert, tls.key, entry.token) if file]
    name = name or entry.name
    channel = RenewedChannel(make, files, name) if files else make()
    return Endpoint(_options(entry, name, address, clearance), channel, clock)


def tls_of(entry: NodeEntry) -> TlsFiles:
    """Return the TLS files for a node that is dialled."""
    return TlsFiles(entry.tls.ca, entry.tls.cert, entry.tls.key)


def check_token(entry: NodeEntry, address: str) -> None:
    """Raise SettingsError if somebody on the way to a node could read the token for it."""
    if entry.token and entry.insecure and not is_local(address):
        raise SettingsError(
            f"the token for {entry.name} would go to another machine in plaintext: give it tls"
        )


class Attachable(NamedTuple):
    """A node that may attach: its endpoint, and the link that waits for it."""

    identity: str
    link: AttachedNode
    endpoint: Endpoint


def attachable(
    entry: NodeEntry,
    listen: ListenSettings,
    max_bytes: int,
    clock: Clock = time.monotonic,
    scanner: Scanner | None = None,
) -> Attachable:
    """Return the endpoint of a node that dials us, and by whose identity it is known.

    Args:
        entry: What the settings say of it.
        listen: Where it attaches.
        max_bytes: The most that one call may carry.
        clock: The caller's clock.
        scanner: Looks at what goes to a public place.
    """
    clearance = clearance_when_attached(entry, listen)
    link = AttachedNode(entry.name, listen.address)
    channel = SessionChannel(entry.name, clearance, max_bytes=max_bytes, link=link, scanner=scanner)
    options = _options(entry, entry.name, listen.address, clearance)
    # In plaintext nothing proves an identity, so it is the name that the node gives.
    identity = entry.name if listen.insecure else entry.tls.identity
    return Attachable(identity, link, Endpoint(options, channel, clock))


def listen_tls(listen: ListenSettings) -> TlsFiles | None:
    """Return the TLS files of where nodes attach; None is plaintext."""
    if listen.insecure:
        return None
    return TlsFiles(listen.tls.ca, listen.tls.cert, listen.tls.key)


def _options(entry: NodeEntry, name: str, address: str, clearance: Clearance) -> EndpointOptions:
    return EndpointOptions(
        name=name,
        tier=entry.tier,
        address=address,
        clearance=clearance,
        dollars_per_hour=entry.dollars_per_hour,
        max_in_flight=entry.max_in_flight,
    )
