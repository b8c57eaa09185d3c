import re
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError
from pydantic.alias_generators import to_camel

from orchestrator.commands.egress_rules import (
    CLUSTER_DNS,
    Peer,
    Site,
    as_network_policy,
    as_nftables,
    network_policy,
)

SITE = Site(
    source="isthmus.yaml",
    peers=(
        Peer("cloud-1", "10.0.0.2:50052", 50052, ("10.0.0.2",)),
        Peer("cloud-2", "gpu.example:443", 443, ("192.0.2.7", "2001:db8::7")),
        Peer("fleet", "fleet.example:50052", 50052, ("192.0.2.8", "192.0.2.9"), zone=True),
    ),
    dns=("10.0.0.53", "fd00::53"),
    notes=("A note.",),
    log=True,
)

NFTABLES = """\
# Outgoing traffic of an edge site: only what isthmus.yaml names. Load with: nft -f FILE
# Refused attempts are counted: nft list counter inet isthmus_egress refused
# They hold for this machine or namespace; forwarded traffic of containers is not theirs.
# Connections that are open already stay open: load them before the programs start.
# A note.

table inet isthmus_egress
delete table inet isthmus_egress
table inet isthmus_egress {
    counter refused { }
    set nodes4 {
        type ipv4_addr . inet_service
        elements = {
            10.0.0.2 . 50052 comment "cloud-1",
            192.0.2.7 . 443 comment "cloud-2"
        }
    }
    set nodes6 {
        type ipv6_addr . inet_service
        elements = {
            2001:db8::7 . 443 comment "cloud-2"
        }
    }
    set zones4 {
        type ipv4_addr . inet_service
        elements = {
            192.0.2.8 . 50052 comment "fleet",
            192.0.2.9 . 50052 comment "fleet"
        }
    }
    set zones6 {
        type ipv6_addr . inet_service
    }
    chain outgoing {
        type filter hook output priority filter; policy drop;
        oifname "lo" accept
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
        icmpv6 type mld2-listener-report accept
        ip daddr . tcp dport @nodes4 accept
        ip6 daddr . tcp dport @nodes6 accept
        ip daddr . tcp dport @zones4 accept
        ip6 daddr . tcp dport @zones6 accept
        ip daddr 10.0.0.53 meta l4proto { tcp, udp } th dport 53 accept
        ip6 daddr fd00::53 meta l4proto { tcp, udp } th dport 53 accept
        limit rate 10/minute log prefix "isthmus egress refused: "
        counter name refused reject with icmpx admin-prohibited
    }
}
"""


class Strict(BaseModel):
    """What Kubernetes' own schema of NetworkPolicy v1 has, as far as these rules use it."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Labels(Strict):
    match_labels: dict[str, str]


class Block(Strict):
    cidr: IPvAnyNetwork


class To(Strict):
    ip_block: Block | None = None
    namespace_selector: Labels | None = None
    pod_selector: Labels | None = None


class Port(Strict):
    protocol: Literal["TCP", "UDP", "SCTP"]
    port: int = Field(ge=1, le=65535)


class Egress(Strict):
    to: list[To] = Field(min_length=1)
    ports: list[Port]


class Spec(Strict):
    pod_selector: Labels
    policy_types: list[Literal["Ingress", "Egress"]]
    egress: list[Egress]


class Policy(Strict):
    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: dict[str, str]
    spec: Spec


HOSTILE = 'a"; }\nflush ruleset # {'


def test_nftables_refuse_all_but_what_the_site_needs() -> None:
    assert as_nftables(SITE) == NFTABLES


def test_a_site_that_dials_nobody_may_reach_nobody() -> None:
    rules = as_nftables(Site("isthmus.yaml"))
    assert "elements" not in rules
    assert "policy drop" in rules
    assert "dport 53" not in rules
    assert "log prefix" not in rules
    assert network_policy(Site("isthmus.yaml"))["spec"]["egress"] == []


def test_two_nodes_at_one_place_are_one_element() -> None:
    peers = tuple(Peer(name, "10.0.0.2:1", 1, ("10.0.0.2",)) for name in ("a", "b"))
    assert as_nftables(Site("x", peers)).count("10.0.0.2 . 1") == 1
    assert 'comment "a, b"' in as_nftables(Site("x", peers))


def test_no_name_ends_its_comment() -> None:
    site = Site(HOSTILE, (Peer(HOSTILE, "h:1", 1, ("10.0.0.2",)),), notes=(HOSTILE,))
    assert as_nftables(site).count("\n") == as_nftables(replace(site, source="x")).count("\n")
    for line in (as_nftables(site) + as_network_policy(site)).splitlines():
        assert "flush" not in line or line.startswith("# ") or re.search(r'comment "[^"]*"$', line)


def test_the_network_policy_is_one_that_kubernetes_takes() -> None:
    policy = yaml.safe_load(as_network_policy(SITE))
    assert policy == network_policy(SITE)
    assert Policy.model_validate(policy).api_version == "networking.k8s.io/v1"
    assert policy["spec"]["policyTypes"] == ["Egress"]
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app": "isthmus-edge"}}
    first, second, zone, dns = policy["spec"]["egress"]
    assert first == {
        "to": [{"ipBlock": {"cidr": "10.0.0.2/32"}}],
        "ports": [{"protocol": "TCP", "port": 50052}],
    }
    cidrs = [block["ipBlock"]["cidr"] for block in second["to"]]
    assert cidrs == ["192.0.2.7/32", "2001:db8::7/128"]
    assert len(zone["to"]) == 2
    assert [port["protocol"] for port in dns["ports"]] == ["UDP", "TCP"]
    assert "cannot name DNS names" in as_network_policy(SITE)


def test_the_resolver_of_a_cluster_is_named_by_its_pods() -> None:
    policy = network_policy(replace(SITE, dns=(CLUSTER_DNS,), selector=("role", "edge")))
    Policy.model_validate(policy)
    resolver = policy["spec"]["egress"][-1]["to"][0]
    assert resolver["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert policy["spec"]["podSelector"] == {"matchLabels": {"role": "edge"}}


def test_the_check_of_the_policy_finds_a_misspelt_field() -> None:
    policy: dict[str, Any] = network_policy(SITE)
    policy["spec"]["egres"] = policy["spec"].pop("egress")
    with pytest.raises(ValidationError, match="egres"):
        Policy.model_validate(policy)


@pytest.mark.parametrize("site", [SITE, Site(HOSTILE, SITE.peers, notes=(HOSTILE,))])
def test_nft_takes_the_rules(site: Site, tmp_path: Path) -> None:
    if which("nft") is None:
        warnings.warn("nft is not installed: it was not asked about the rules", stacklevel=1)
        pytest.skip("nft is not installed")
    file = tmp_path / "rules.nft"
    file.write_text(as_nftables(site))
    done = subprocess.run(["nft", "-c", "-f", str(file)], capture_output=True, text=True)
    if "Operation not permitted" in done.stderr:
        pytest.skip("only root may ask nft")
    assert done.returncode == 0, done.stderr
    file.write_text(as_nftables(site).replace("policy drop", "policy perhaps"))
    assert subprocess.run(["nft", "-c", "-f", str(file)], capture_output=True).returncode
