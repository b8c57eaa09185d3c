"""What the caller's settings say of nodes: where they are, and how they prove who they are."""

import os
import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from orchestrator.settings.values import ClearanceSetting, Section
from policies.facts import Clearance, Level, Tier

_LONGEST_SOCKET = 107
"""What Linux takes, without the zero at its end."""

_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+")
"""An X.509-SVID's id; see the SPIFFE standard."""


class TlsSettings(Section):
    """TLS to a node: who signed it, what to show it, and the name its certificate must bear."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    identity: str = ""

    @field_validator("identity")
    @classmethod
    def _check_identity(cls, identity: str) -> str:
        if "://" in identity and not _SPIFFE.fullmatch(identity):
            raise ValueError(
                f"{identity!r} is no identity: write a DNS name, or spiffe://trust.domain/path"
            )
        return identity


class NodeEntry(Section):
    """One node; with `zone` all nodes behind one DNS name; with `attach` one that dials us."""

    name: str
    tier: Tier
    address: str = ""
    zone: str = ""
    attach: bool = False
    clearance: ClearanceSetting = Clearance(Level.PUBLIC)
    insecure: bool = False
    tls: TlsSettings = TlsSettings()
    token: Path | None = None
    session_socket: bool = True
    dollars_per_hour: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_in_flight: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "NodeEntry":
        if sum(map(bool, (self.address, self.zone, self.attach))) != 1:
            raise ValueError(
                "give the node's address, or the zone whose DNS records are nodes, or attach: true "
                "for a node that dials the address of listen"
            )
        if self.attach:
            if self.insecure or self.tls != TlsSettings(identity=self.tls.identity):
                raise ValueError(
                    "a node that attaches is met with the TLS of listen: leave insecure, tls.ca, "
                    "tls.cert and tls.key out here"
                )
            if self.token:
                raise ValueError("we are met by a node that attaches: leave token out here")
            return self
        check_place(self.address or self.zone)
        if self.insecure and self.tls != TlsSettings():
            raise ValueError("insecure means no TLS: leave one of insecure and tls out")
        if self.insecure and self.zone and self.token:
            raise ValueError("a token is for TLS: leave one of insecure and token out")
        if "://" in self.tls.identity:
            raise ValueError(
                f"tls.identity {self.tls.identity} cannot be checked at a node that is dialled, "
                "since gRPC compares DNS names and IP addresses alone: give a DNS name that its "
                "certificate bears, too, or let the node attach"
            )
        return self


def check_place(place: str) -> None:
    """Raise ValueError if something is neither "host:port" nor "unix:/path"."""
    port = re.fullmatch(r".+:([0-9]{1,5})", place)
    if place.startswith("unix:"):
        check_socket(place.removeprefix("unix:"))
    elif not (port and 0 < int(port[1]) < 2**16):
        raise ValueError(f"{place!r} has no port from 1 to 65535: write host:port")


class ListenSettings(Section):
    """Where nodes that cannot be dialled attach, and how they and we prove who we are."""

    address: str
    insecure: bool = False
    tls: TlsSettings = TlsSettings()

    @model_validator(mode="after")
    def _check(self) -> "ListenSettings":
        check_place(self.address)
        if self.insecure and self.tls != TlsSettings():
            raise ValueError("insecure means no TLS: leave one of insecure and tls out")
        if not self.insecure and not (self.tls.ca and self.tls.cert and self.tls.key):
            raise ValueError(
                "nodes prove who they are by certificates: give tls.ca (who signs them), tls.cert "
                "and tls.key (ours), or say insecure: true"
            )
        return self


def check_socket(path: str) -> None:
    """Raise ValueError if a Unix socket cannot have that path."""
    if not path:
        raise ValueError("a Unix socket needs a path: write unix:/run/isthmus/edge.sock")
    if (length := len(os.fsencode(path))) > _LONGEST_SOCKET:
        raise ValueError(
            f"the path of a Unix socket has at most {_LONGEST_SOCKET} bytes, and {path!r} has "
            f"{length}: give a shorter one"
        )


def check_attached(nodes: list[NodeEntry], listen: ListenSettings | None) -> None:
    """Raise ValueError unless every node that attaches can, and can be told from the others."""
    if nodes and listen is None:
        raise ValueError(
            f"{nodes[0].name} has attach: true and nothing to attach to: give listen its address"
        )
    for node in nodes:
        if listen and listen.insecure and node.tls.identity:
            raise ValueError(
                f"nothing proves the identity of {node.name} in plaintext: give listen its tls, or "
                "leave tls.identity out"
            )
        if listen and not listen.insecure and not node.tls.identity:
            raise ValueError(f"give {node.name} tls.identity: the name in its certificate")
    identities = [node.tls.identity for node in nodes if node.tls.identity]
    if twice := {name for name in identities if identities.count(name) > 1}:
        raise ValueError(
            f"two nodes have the tls.identity {', '.join(sorted(twice))}: each needs a certificate "
            "of its own"
        )
