"""The stream of a session between two processes of one machine: a Unix socket, without gRPC.

A message of gRPC costs some 60 microseconds at each end; a message here costs a tenth of that. It
is the same message, with its length (4 bytes, little-endian) in front. The socket has a name in
Linux's abstract namespace: no file, so it goes with its process, however that ends. Each end asks
the kernel who is at the other: only a process of the same user, or root, is spoken to.
"""

import asyncio
import os
import socket
import struct
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path

from orchestrator.wire.frames import MESSAGE_BYTES

PREFIX = "isthmus-"
"""How the names of such sockets begin."""

_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("iII")  # process, user, group

_MOST_UNREAD = 8
"""Messages after which the other end is not heard any further until some are read."""


@cache
def machine() -> str:
    """Return what tells this machine, since its start, from others; empty if nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_trusted(connection: socket.socket) -> bool:
    """Say whether the process at the other end is of this user, or root."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(said)[1] in (os.geteuid(), 0)


async def dial(name: str) -> "SocketStream":
    """Open a stream to a node of this machine.

    Raises:
        OSError: Nobody listens there, or somebody who is not to be trusted.
    """
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await loop.sock_connect(connection, f"\0{name}")
        if not name.startswith(PREFIX) or not is_trusted(connection):
            raise PermissionError(f"{name} is not a socket of this user")
        _, stream = await loop.create_unix_connection(SocketStream, sock=connection)
    except BaseException:
        connection.close()
        raise
    try:
        await stream.greeted()
    except BaseException:
        stream.cancel()
        raise
    return stream


class SocketStream(asyncio.Protocol):
    """Both directions of one connection, as either end of a session holds it.

    Attributes:
        lost: Whether it has ended.
    """

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._messages: deque[bytes] = deque()
        self.lost = False
        self._waiting: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._paused = False

    async def read(self) -> bytes | None:
        """Return the next message; None at the end."""
        while not self._messages:
            if self.lost:
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        message = self._messages.popleft()
        if self._paused and len(self._messages) < _MOST_UNREAD:
            self._paused = False
            with suppress(RuntimeError):  # it is closing
                self._transport.resume_reading()
        return message

    async def write(self, message: bytes, /) -> None:
        """Send a message; wait while the other side does not read.

        Raises:
            InvalidStateError: The connection is lost.
        """
        if self.lost or self._transport.is_closing():
            raise asyncio.InvalidStateError("the connection is lost")
        self._transport.writelines((_LENGTH.pack(len(message)), message))
        if not self._room.is_set():
            await self._room.wait()

    async def greet(self) -> None:
        """Tell the other end that it is served here."""
        await self.write(b"")

    async def greeted(self) -> None:
        """Wait until the other end has greeted; raise ConnectionError if it has not."""
        if await self.read() != b"":
            raise ConnectionRefusedError("the node did not take the connection")

    def cancel(self) -> None:
        """End both directions at once."""
        self._transport.abort()

    async def aclose(self) -> None:
        """End the connection once everything is sent."""
        self._transport.close()
        while not self.lost:
            await self.read()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        """Let everybody go who waits."""
        self.lost = True
        self._room.set()
        self._wake()

    def pause_writing(self) -> None:
        """Let writers wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Take what has come, message by message."""
        if not self._buffer and len(data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data)
            if len(data) == _LENGTH.size + length:  # as nearly always
                self._take(data[_LENGTH.size :])
                return
        self._buffer += data
        place = 0
        while len(self._buffer) - place >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, place)
            if length > 2 * MESSAGE_BYTES:
                self.cancel()  # no message is as long, so what comes is no session
                return
            end = place + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                self._take(bytes(view[place + _LENGTH.size : end]))
            place = end
        del self._buffer[:place]

    def _take(self, message: bytes) -> None:
        self._messages.append(message)
        if len(self._messages) >= _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
