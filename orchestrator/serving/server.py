"""The gRPC server around a node: address, TLS, health, and an ordered end."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from orchestrator.core.errors import SettingsError
from orchestrator.serving.access.access import Access
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.serving.node import Node
from orchestrator.serving.servicer import NodeServicer
from orchestrator.serving.sessionsocket import SessionSocket
from orchestrator.serving.socketfile import SocketFile
from orchestrator.wire.connection import NODE_OPTIONS
from orchestrator.wire.frames import SESSION
from orchestrator.wire.guard import MAX_CALL_BYTES
from orchestrator.wire.memory import SHARED_BYTES
from orchestrator.wire.security import TlsFiles, is_local, join_address, server_credentials
from orchestrator.wire.unary import message_limits
from protos.isthmus.v1.node_pb2_grpc import add_NodeServicer_to_server

_log = logging.getLogger("isthmus.node")

SERVICE = "isthmus.v1.Node"


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a node listens.

    Attributes:
        host: An address of this machine.
        port: The port; 0 takes a free one.
        tls: The node's certificate; None is plaintext.
        insecure: Whether plaintext was asked for outside of this machine.
        socket: A Unix socket beside the port, with the same TLS; None is none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: TlsFiles | None = None
    insecure: bool = False
    socket: Path | None = None

    @property
    def address(self) -> str:
        """Host and port, as gRPC reads them."""
        return join_address(self.host, self.port)

    def check(self) -> None:
        """Raise SettingsError if a file is no good, or plaintext is open to others unasked."""
        if self.tls:
            server_credentials(self.tls)
        elif not self.insecure and not is_local(self.address):
            raise SettingsError(
                f"{self.host} can be reached from other machines: give --tls-cert and --tls-key, "
                "or say --insecure (callers then send public data only)"
            )
        if self.socket:
            SocketFile(self.socket).check()


def check_access(access: AccessSettings, binding: Binding) -> None:
    """Raise SettingsError if callers cannot prove who they are, or their tokens are open to all."""
    tokens, local = access.tokens, is_local(binding.address)
    if not (binding.tls and binding.tls.ca) and (tokens is None or tokens.need_certificate):
        raise SettingsError(
            "with --access callers have to prove who they are: give --tls-ca, or say in the "
            "access file where the keys of tokens are, with need_certificate: false"
        )
    if tokens and binding.tls is None and not local:
        raise SettingsError(
            f"{binding.host} can be reached from other machines, which could read tokens in "
            "plaintext: give --tls-cert and --tls-key"
        )


class _Reading(grpc.aio.ServerInterceptor):
    """Says how messages are read.

    Those of a session pass as the bytes they are: protobuf would copy each one twice more.
    Elsewhere bytes that are no message are an empty one, which is refused in our own words.
    """

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the handler of an RPC with a deserializer that never raises, or with none."""
        handler = await continuation(details)
        if handler is not None and details.method == SESSION:
            return handler._replace(request_deserializer=None, response_serializer=None)
        if handler is None or handler.request_deserializer is None:
            return handler
        plain = handler.request_deserializer

        def forgiving(data: bytes) -> Any:
            """Read a message, or an empty one."""
            try:
                return plain(data)
            except DecodeError:
                return plain(b"")

        return handler._replace(request_deserializer=forgiving)


class Server:
    """Serves a node over gRPC.

    Args:
        node: The node; it may still be starting.
        binding: Where to listen.
        max_bytes: The most that one call may carry.
        shared_bytes: The most a session shares with a caller on this machine; 0 is nothing.
        access: Who may do what; None lets everyone who can connect do everything.
    """

    def __init__(
        self,
        node: Node,
        binding: Binding,
        max_bytes: int = MAX_CALL_BYTES,
        shared_bytes: int = SHARED_BYTES,
        access: Access | None = None,
    ) -> None:
        self._access = access
        self._node = node
        self._binding = binding
        options = [*NODE_OPTIONS, *message_limits(max_bytes)]
        self._server = grpc.aio.server(interceptors=[_Reading()], options=options)
        self._health = health.HealthServicer()
        self._servicer = NodeServicer(node, max_bytes, shared_bytes=shared_bytes, access=access)
        self._file = SocketFile(binding.socket) if binding.socket else None
        self._sessions = SessionSocket(partial(self._servicer.serve, nearby=True))
        add_NodeServicer_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen and return the port.

        Raises:
            SettingsError: The binding is refused, or the port is taken.
        """
        self._binding.check()
        if self._access:
            check_access(self._access.settings, self._binding)
        await self._set_health("starting")
        port = self._listen(self._binding.address, "is the port taken? Is the host this machine's?")
        if self._file:
            with self._file.making():
                self._listen(self._file.address, "may this user make files in that folder?")
        # There is no TLS on that socket, and no token: it must not be a way around them.
        if not self._binding.tls and self._access is None:
            await self._sessions.start()
            self._servicer.socket = self._sessions.name
        await self._server.start()
        self._follower = asyncio.create_task(self._follow_node())
        _log.info("node %s listens on %s", self._node.name, join_address(self._binding.host, port))
        if self._file:
            _log.info("node %s listens on %s, too", self._node.name, self._file.address)
        return port

    def _listen(self, address: str, cure: str) -> int:
        try:
            if self._binding.tls:
                credentials = server_credentials(self._binding.tls)
                return self._server.add_secure_port(address, credentials)
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise SettingsError(f"cannot listen on {address}: {cure}") from error

    async def stop(self, grace: float) -> None:
        """Stop; calls still inside have so many seconds until they are cut."""
        if self._follower:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        await self._health.enter_graceful_shutdown()
        self._servicer.end_sessions()
        await asyncio.gather(self._server.stop(grace), self._sessions.stop(grace))
        if self._file:
            self._file.remove()

    async def _follow_node(self) -> None:
        async for report in self._node.reports(60.0):
            await self._set_health(report.state)

    async def _set_health(self, state: str) -> None:
        status = health_pb2.HealthCheckResponse
        serving = status.SERVING if state == "ready" else status.NOT_SERVING
        for service in ("", SERVICE):
            await self._health.set(service, serving)
