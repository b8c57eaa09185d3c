"""The caller's settings: isthmus.yaml, and ISTHMUS_* in the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from orchestrator.sources import load
from policies.catalog import DEFAULT_FILTERS, DEFAULT_SCORERS
from policies.facts import Clearance, Level, Tier

_LONGEST_SOCKET = 107
"""What Linux takes, without the zero at its end."""


def parse_clearance(value: Any) -> Clearance:
    """Return a clearance as people write it.

    Args:
        value: "secret", "internal:phi,pii", or {level: internal, categories: [phi]}.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, Clearance):
        return value
    if isinstance(value, str):
        level, colon, names = value.partition(":")
        value = {"level": level, **({"categories": names.split(",")} if colon else {})}
    known = ", ".join(level.name.lower() for level in Level)
    if not isinstance(value, Mapping) or value.keys() - {"level", "categories"}:
        raise ValueError(f"a clearance is one of {known}, or has a level and categories")
    name = str(value.get("level", "")).strip().upper()
    if name not in Level.__members__:
        raise ValueError(f"unknown level {name.lower()!r}: known are {known}")
    return Clearance(
        Level[name], _categories(value["categories"]) if "categories" in value else None
    )


def _categories(given: Any) -> frozenset[str]:
    """Return categories; what was meant to name some and names none must not cover all."""
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ValueError("the categories of a clearance are a list of names")
    names = [name.strip() if isinstance(name, str) else "" for name in listed]
    if not all(names):
        raise ValueError(
            "the categories of a clearance are names; leave the key out for all of them"
        )
    return frozenset(names)


ClearanceSetting = Annotated[
    Clearance, BeforeValidator(parse_clearance), PlainSerializer(str, when_used="json")
]


SharedMemoryMib = Annotated[int, Field(ge=0, le=1024)]
"""What one end of a session may have in memory shared with the other; 0 shares none."""


class Section(BaseModel):
    """A part of the settings: frozen, and an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(Section):
    """TLS to a node: who signed it, what to show it, and the name its certificate must bear."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    identity: str = ""


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
            return self
        check_place(self.address or self.zone)
        if self.insecure and self.tls != TlsSettings():
            raise ValueError("insecure means no TLS: leave one of insecure and tls out")
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


class PolicySettings(Section):
    """Which rules decide; privacy and tier always do."""

    filters: tuple[str, ...] = DEFAULT_FILTERS
    scorers: tuple[str, ...] = DEFAULT_SCORERS
    ms_per_dollar: float = Field(default=200.0, ge=0, allow_inf_nan=False)


class ModelSettings(Section):
    """Where the models of an embedded edge and cloud are."""

    store: Path = Path("models")


class Settings(Section):
    """The caller's side. Without nodes, an edge and a cloud are embedded in the process."""

    nodes: tuple[NodeEntry, ...] = ()
    listen: ListenSettings | None = None
    policies: PolicySettings = PolicySettings()
    models: ModelSettings = ModelSettings()
    max_call_mib: int = Field(default=80, ge=1, le=1024)
    shared_memory_mib: SharedMemoryMib = 128

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        names = [node.name for node in self.nodes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two nodes are named {', '.join(sorted(twice))}: names must differ")
        _check_attached([node for node in self.nodes if node.attach], self.listen)
        return self


def _check_attached(nodes: list[NodeEntry], listen: ListenSettings | None) -> None:
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


def load_settings(path: Path | None = None, given: Mapping[str, Any] | None = None) -> Settings:
    """Return the caller's settings: what is given > ISTHMUS_* environment > file > defaults.

    Raises:
        SettingsError: The file cannot be read, or a key or value in any source is wrong.
    """
    return load(Settings, "ISTHMUS_", path, given or {}, apart="ISTHMUS_NODE_")
