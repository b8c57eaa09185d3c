"""`isthmus egress-rules`: what an edge site may reach, by its settings, for the machine to hold.

A belt around the guard: it holds for programs that never heard of this library, too.
"""

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from orchestrator.commands.egress_rules import (
    CLUSTER_DNS,
    Peer,
    Site,
    as_network_policy,
    as_nftables,
)
from orchestrator.core.errors import SettingsError, UsageError
from orchestrator.routing.zone import Resolve, resolve
from orchestrator.settings.caller import load_settings
from orchestrator.settings.nodes import NodeEntry, check_place
from orchestrator.wire.security import is_local

Format = Literal["nftables", "kubernetes"]

_LABEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/-]*)=([A-Za-z0-9][A-Za-z0-9._-]*)")


async def site_of(
    path: Path,
    dns: Sequence[str] = (),
    allowed: Sequence[str] = (),
    selector: str = "app=isthmus-edge",
    *,
    log: bool = False,
    look_up: Resolve = resolve,
) -> Site:
    """Return what the site of a settings file needs to reach.

    Args:
        path: The caller's settings.
        dns: Addresses of the resolvers that it may ask, or "cluster".
        allowed: More places that it may dial, each "host:port".
        selector: The label of its pods, "key=value".
        log: Whether refused attempts are logged.
        look_up: Turns "name:port" into addresses.

    Raises:
        SettingsError: The file is wrong, or a name in it has no address here.
        UsageError: A resolver, a place or a label is written in another way.
    """
    settings = load_settings(path)
    label = _LABEL.fullmatch(selector)
    if label is None:
        raise UsageError(f"{selector!r} is no label: write app=isthmus-edge")
    entries = [*settings.nodes, *(_allowed(place) for place in allowed)]
    far = [entry for entry in entries if not entry.attach and not is_local(_place(entry))]
    peers = await asyncio.gather(*(_peer(entry, look_up) for entry in far))
    notes = [*_notes_of(entries, peers, dns)]
    if settings.listen and any(entry.attach for entry in settings.nodes):
        notes.append(
            f"Nodes attach by dialling {settings.listen.address}: incoming, needs no rule here."
        )
    return Site(
        source=path.name,
        peers=tuple(peers),
        dns=tuple(_resolver(address) for address in dns),
        notes=tuple(notes),
        log=log,
        selector=(label[1], label[2]),
    )


def rendered(site: Site, form: Format) -> str:
    """Return the rules as text.

    Raises:
        UsageError: They ask for what that form cannot say.
    """
    if form == "kubernetes":
        if site.log:
            raise UsageError("a NetworkPolicy cannot log: leave --log out, or use nftables")
        return as_network_policy(site)
    if CLUSTER_DNS in site.dns:
        raise UsageError("--dns cluster is for --format kubernetes: give the resolver's address")
    return as_nftables(site)


def as_data(site: Site, form: Format) -> dict[str, Any]:
    """Return the rules for programs, with what they are made of."""
    peers = [asdict(peer) for peer in site.peers]
    return {"format": form, "peers": peers, "notes": site.notes, "rules": rendered(site, form)}


async def _peer(entry: NodeEntry, look_up: Resolve) -> Peer:
    place = _place(entry)
    try:
        found = await look_up(place)
    except OSError as error:
        raise SettingsError(
            f"{entry.name}: {place} has no address here: run this where its name is known, or "
            "write its address"
        ) from error
    hosts = {each.rpartition(":")[0].strip("[]") for each in found}
    ordered = sorted(hosts, key=lambda host: (":" in host, ipaddress.ip_address(host).packed))
    return Peer(entry.name, place, int(place.rpartition(":")[2]), tuple(ordered), bool(entry.zone))


def _notes_of(entries: Sequence[NodeEntry], peers: Sequence[Peer], dns: Sequence[str]) -> list[str]:
    notes = [
        f"{entry.name} at {_place(entry)} is on this machine and needs no rule."
        for entry in entries
        if not entry.attach and is_local(_place(entry))
    ]
    for peer in peers:
        if peer.zone:
            notes.append(
                f"{peer.name} is the zone {peer.place}: its addresses change as nodes come and go. "
                "These are those of now; add new ones to the set zones4 or zones6, or write the "
                "rules anew."
            )
        elif _is_name(peer):
            notes.append(
                f"{peer.name} is at {peer.place}: {', '.join(peer.addresses)} now. Write the rules "
                "anew when that changes."
            )
    if not dns and any(map(_is_name, peers)):
        notes.append("No resolver may be asked, and there are names to look up: give --dns.")
    return notes


def _is_name(peer: Peer) -> bool:
    return peer.addresses != (peer.place.rpartition(":")[0].strip("[]"),)


def _place(entry: NodeEntry) -> str:
    return entry.address or entry.zone


def _allowed(place: str) -> NodeEntry:
    try:
        check_place(place)
    except ValueError as error:
        raise UsageError(f"--allow: {error}") from error
    return NodeEntry(name=f"allowed {place}", tier="cloud", address=place)


def _resolver(address: str) -> str:
    if address == CLUSTER_DNS:
        return address
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise UsageError(f"--dns {address!r} is no IP address: name the resolver by one") from error
