"""From an entry of the settings to an endpoint: which channel, and what may go through it."""

import time

from orchestrator.core.deadline import Clock
from orchestrator.routing.endpoint import Endpoint, EndpointOptions
from orchestrator.settings import NodeEntry
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.security import TlsFiles, client_credentials, is_local
from policies.facts import Clearance, Level


def clearance_at(entry: NodeEntry, address: str) -> Clearance:
    """Return the most private data that may go to an address.

    Plaintext keeps the configured clearance on this machine only: anywhere else nobody knows
    who listens, so nothing but public data may go there.
    """
    if entry.insecure and not is_local(address):
        return Clearance(Level.PUBLIC)
    return entry.clearance


def connect(
    entry: NodeEntry,
    max_bytes: int,
    clock: Clock = time.monotonic,
    address: str = "",
    name: str = "",
) -> Endpoint:
    """Return the endpoint of a node; no connection is made yet.

    Args:
        entry: What the settings say of it.
        max_bytes: The most that one call may carry.
        clock: The caller's clock.
        address: One address of a zone, instead of the entry's own.
        name: The name of that one node.

    Raises:
        SettingsError: A TLS file cannot be read.
    """
    address = address or entry.address
    clearance = clearance_at(entry, address)
    tls = entry.tls
    credentials = None
    if not entry.insecure:
        credentials = client_credentials(TlsFiles(tls.ca, tls.cert, tls.key))
    # Behind a zone every certificate bears the zone's name, unless the settings say another.
    identity = tls.identity or entry.zone.rpartition(":")[0]
    channel = SessionChannel(address, clearance, credentials, identity, max_bytes)
    options = EndpointOptions(
        name=name or entry.name,
        tier=entry.tier,
        address=address,
        clearance=clearance,
        dollars_per_hour=entry.dollars_per_hour,
        max_in_flight=entry.max_in_flight,
    )
    return Endpoint(options, channel, clock)
