"""A node's settings: node.yaml, ISTHMUS_NODE_* in the environment, and flags."""

import socket
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from orchestrator.core.errors import SettingsError
from orchestrator.serving.attach import Place
from orchestrator.serving.batching.batcher import BatchOptions
from orchestrator.serving.embedded import CLEARANCES
from orchestrator.serving.node import NodeOptions
from orchestrator.serving.server import Binding
from orchestrator.settings.nodes import check_place
from orchestrator.settings.values import ClearanceSetting, Section, SharedMemoryMib
from orchestrator.wire.security import TlsFiles
from policies.facts import Tier

PREFIX = "ISTHMUS_NODE_"

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes a free one."""


def _listed(given: Any) -> Any:
    """Return what may be written as one text, parted by commas, as a list."""
    if not isinstance(given, str):
        return given
    return [place.strip() for place in given.split(",")] if given.strip() else []


def _checked(places: tuple[str, ...]) -> tuple[str, ...]:
    for place in places:
        check_place(place)
    if len(set(places)) < len(places):
        raise ValueError("an orchestrator is named twice: a node attaches once to each")
    return places


Attach = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_checked)]
"""Where orchestrators listen for nodes; in the environment a text, not JSON."""


class NodeSettings(Section):
    """What an operator may say of a node."""

    app: str = ""
    default_port: ClassVar[int] = 0

    host: str = "127.0.0.1"
    port: Port | None = None
    socket: Path | None = None
    attach: Attach = ()
    name: str = ""
    clearance: ClearanceSetting | None = None
    models: Path = Path("models")
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    insecure: bool = False
    metrics_port: Port | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    device: str = ""
    threads: int = Field(default=0, ge=0)
    graph: str = ""
    slots: int | None = Field(default=None, ge=1)
    max_in_flight: int = Field(default=512, ge=1)
    max_batch_size: int = Field(default=32, ge=1)
    max_delay_ms: float = Field(default=0.0, ge=0)
    shape_aware: bool = True
    memory_aware: bool = True
    max_call_mib: int = Field(default=80, ge=1, le=1024)
    shared_memory_mib: SharedMemoryMib = 128
    lame_duck_seconds: float = Field(default=1.0, ge=0)
    drain_seconds: float = Field(default=20.0, ge=0)

    def options(self, tier: Tier) -> NodeOptions:
        """Return what the node is."""
        name = self.name or f"{tier}-{socket.gethostname()}"
        clearance = self.clearance or CLEARANCES[tier]
        given = {"slots": self.slots} if self.slots else {}
        return NodeOptions(
            name=name,
            tier=tier,
            clearance=clearance,
            max_in_flight=self.max_in_flight,
            batching=BatchOptions(
                max_batch_size=self.max_batch_size,
                max_delay_ms=self.max_delay_ms,
                shape_aware=self.shape_aware,
                memory_aware=self.memory_aware,
            ),
            **given,
        )

    def binding(self) -> Binding | None:
        """Return where it listens; a node that attaches does so only on a port that is named.

        Raises:
            SettingsError: TLS is half given, or a socket without a port.
        """
        tls = self._tls()
        if self.attach and self.port is None:
            if self.socket:
                raise SettingsError("--socket stands beside a port: give --port, too")
            return None
        port = self.default_port if self.port is None else self.port
        return Binding(self.host, port, tls, self.insecure, self.socket)

    def places(self) -> list[Place]:
        """Return where it attaches; raise SettingsError if TLS is half given."""
        tls = self._tls()
        return [Place(address, tls, self.insecure) for address in self.attach]

    def _tls(self) -> TlsFiles | None:
        if self.tls_cert is None and self.tls_ca is not None:
            raise SettingsError(
                "--tls-ca checks callers: a node with it needs --tls-cert, --tls-key"
            )
        wanted = self.tls_cert or self.tls_key
        tls = TlsFiles(self.tls_ca, self.tls_cert, self.tls_key) if wanted else None
        if tls and self.insecure:
            raise SettingsError("--insecure means no TLS: leave out one of it and --tls-cert")
        return tls
