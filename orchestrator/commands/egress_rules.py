"""What may leave an edge site, as rules for nftables and as a Kubernetes NetworkPolicy.

Pure: addresses are given, nothing is looked up here.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

TABLE = "isthmus_egress"
CLUSTER_DNS = "cluster"
"""Instead of a resolver's address: the pods that resolve names in a Kubernetes cluster."""

_DNS_PORT = 53
_UNSAFE = re.compile(r"[^A-Za-z0-9._:;/@\[\](),'= -]")


@dataclass(frozen=True, slots=True)
class Peer:
    """A node that may be dialled.

    Attributes:
        name: Its name in the settings.
        place: Where the settings say it is: "host:port".
        port: Its port.
        addresses: Its IP addresses; those of all nodes, if it is a zone.
        zone: Whether its addresses change as nodes come and go.
    """

    name: str
    place: str
    port: int
    addresses: tuple[str, ...]
    zone: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """What an edge site needs to reach.

    Attributes:
        source: The settings file that says so.
        peers: The nodes that may be dialled.
        dns: Addresses of resolvers, or CLUSTER_DNS.
        notes: What a reader of the rules has to know.
        log: Whether refused attempts are logged.
        selector: The label of the pods that the policy holds for, as key and value.
    """

    source: str
    peers: tuple[Peer, ...] = ()
    dns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    log: bool = False
    selector: tuple[str, str] = ("app", "isthmus-edge")


def as_nftables(site: Site) -> str:
    """Return rules that `nft -f` loads: everything that leaves is refused, but for the site's."""
    comments = [
        f"Outgoing traffic of an edge site: only what {site.source} names. Load with: nft -f FILE",
        f"Refused attempts are counted: nft list counter inet {TABLE} refused",
        "They hold for this machine or namespace; forwarded traffic of containers is not theirs.",
        "Connections that are open already stay open: load them before the programs start.",
        *site.notes,
    ]
    lines = [
        *(f"# {_safe(comment)}" for comment in comments),
        "",
        f"table inet {TABLE}",  # so that the next line finds one to delete, whenever it is loaded
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        "    counter refused { }",
    ]
    for kind, peers in _kinds(site):
        for family, version in (("ipv4_addr", 4), ("ipv6_addr", 6)):
            lines += _set(f"{kind}{version}", family, _elements(peers, version))
    lines += ["    chain outgoing {", *(f"        {rule}" for rule in _rules(site)), "    }", "}"]
    return "\n".join(lines) + "\n"


def _kinds(site: Site) -> list[tuple[str, list[Peer]]]:
    zones = [peer for peer in site.peers if peer.zone]
    return [("nodes", [peer for peer in site.peers if not peer.zone]), ("zones", zones)]


def _elements(peers: list[Peer], version: int) -> list[str]:
    """Return addresses of one version with their ports; no place twice, as nft wants it."""
    places: dict[str, list[str]] = {}
    for peer in peers:
        for address in peer.addresses:
            if ipaddress.ip_address(address).version == version:
                places.setdefault(f"{address} . {peer.port}", []).append(peer.name)
    return [f'{place} comment "{_safe(", ".join(names))[:100]}"' for place, names in places.items()]


def _set(name: str, family: str, elements: list[str]) -> list[str]:
    lines = [f"    set {name} {{", f"        type {family} . inet_service"]
    if elements:
        listed = ",\n            ".join(elements)
        lines.append(f"        elements = {{\n            {listed}\n        }}")
    return [*lines, "    }"]


def _rules(site: Site) -> list[str]:
    rules = [
        "type filter hook output priority filter; policy drop;",
        'oifname "lo" accept',
        "ct state established,related accept",
        # Without these no machine finds its neighbours on IPv6.
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept",
        "icmpv6 type mld2-listener-report accept",
    ]
    for kind, _ in _kinds(site):
        rules.append(f"ip daddr . tcp dport @{kind}4 accept")
        rules.append(f"ip6 daddr . tcp dport @{kind}6 accept")
    for address in site.dns:
        family = "ip" if ipaddress.ip_address(address).version == 4 else "ip6"
        rules.append(
            f"{family} daddr {address} meta l4proto {{ tcp, udp }} th dport {_DNS_PORT} accept"
        )
    if site.log:
        rules.append('limit rate 10/minute log prefix "isthmus egress refused: "')
    return [*rules, "counter name refused reject with icmpx admin-prohibited"]


def as_network_policy(site: Site) -> str:
    """Return a NetworkPolicy (networking.k8s.io/v1) for the pods of an edge site."""
    import yaml

    comments = [
        f"Outgoing traffic of the pods of an edge site: only what {site.source} names.",
        "A NetworkPolicy cannot name DNS names: these are the addresses that names had when this "
        "was written. Write it anew when they change.",
        "It holds where the cluster's network plugin enforces policies; refused attempts are "
        "neither counted nor logged by it.",
        *site.notes,
    ]
    text: str = yaml.safe_dump(network_policy(site), sort_keys=False)
    return "".join(f"# {_safe(comment)}\n" for comment in comments) + text


def network_policy(site: Site) -> dict[str, Any]:
    """Return the NetworkPolicy as data."""
    egress = [
        {"to": [_block(address) for address in peer.addresses], "ports": [_port("TCP", peer.port)]}
        for peer in site.peers
    ]
    if resolvers := [_resolver(address) for address in site.dns]:
        ports = [_port("UDP", _DNS_PORT), _port("TCP", _DNS_PORT)]
        egress.append({"to": resolvers, "ports": ports})
    key, value = site.selector
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "isthmus-egress"},
        "spec": {
            "podSelector": {"matchLabels": {key: value}},
            "policyTypes": ["Egress"],
            "egress": egress,
        },
    }


def _block(address: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": str(ipaddress.ip_network(address))}}


def _resolver(address: str) -> dict[str, Any]:
    if address != CLUSTER_DNS:
        return _block(address)
    namespace = {"kubernetes.io/metadata.name": "kube-system"}
    return {
        "namespaceSelector": {"matchLabels": namespace},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }


def _port(protocol: str, number: int) -> dict[str, Any]:
    return {"protocol": protocol, "port": number}


def _safe(text: str) -> str:
    """Return a text that cannot end the comment it stands in."""
    return _UNSAFE.sub("?", text)
