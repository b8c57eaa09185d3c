"""Where callers of the same machine open their sessions: a Unix socket of the node."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from orchestrator.core.errors import WireError
from orchestrator.wire.socketstream import PREFIX, SocketStream, is_trusted

_log = logging.getLogger("isthmus.node")

Serve = Callable[[SocketStream], Awaitable[object]]
"""Serves a session to its end."""


class SessionSocket:
    """Listens on a socket with a name that nobody can guess, and without a file.

    Args:
        serve: Serves the session of one connection.

    Attributes:
        name: Its name for callers; empty while it does not listen, as where there are none.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.name = ""

    async def start(self) -> None:
        """Listen, where the system has such sockets."""
        name = PREFIX + secrets.token_hex(16)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(f"\0{name}")
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(self._connection, sock=listener)
        except OSError as error:
            listener.close()
            _log.info("no sessions without gRPC on this machine: %s", error.strerror)
            return
        self.name = name

    async def stop(self, grace: float) -> None:
        """Stop listening; sessions have so many seconds to end."""
        self.name = ""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connection(self) -> SocketStream:
        return _Connection(self._begin)

    def _begin(self, stream: SocketStream) -> None:
        task = asyncio.create_task(self._run(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: SocketStream) -> None:
        try:
            with suppress(asyncio.InvalidStateError, WireError):  # it has gone, or makes no sense
                await stream.greet()
                await self._serve(stream)
                await stream.aclose()
        finally:
            stream.cancel()


class _Connection(SocketStream):
    """A connection at the node: one of somebody else's is closed at once."""

    def __init__(self, begin: Callable[[SocketStream], None]) -> None:
        super().__init__()
        self._begin = begin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, if the process at the other end is of this user."""
        super().connection_made(transport)
        if is_trusted(transport.get_extra_info("socket")):
            self._begin(self)
        else:
            self.cancel()
