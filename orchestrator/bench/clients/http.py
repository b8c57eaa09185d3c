"""A small HTTP client that keeps its connections: what it costs is little beside any server."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.bench.parties import Floats

_IDLE_SECONDS = 1.0
"""Servers close connections that are idle for some seconds, at just the wrong moment."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a server wants to be asked.

    Attributes:
        kind: The content type.
        ask: A text as a body.
        text: The text of an answer to `echo`.
        vector: The vector of an answer to `embed`.
        ask_for_vector: The text as a body for `embed`, if that is another.
    """

    kind: str
    ask: Callable[[str], bytes]
    text: Callable[[bytes], str]
    vector: Callable[[bytes], Floats]
    ask_for_vector: Callable[[str], bytes] | None = None


def _array(values: Any) -> Floats:
    return np.array(values, np.float32)


RAW = Encoding(
    "application/octet-stream", str.encode, bytes.decode, lambda body: np.frombuffer(body, "f4")
)
KEYED = Encoding(
    "application/json",
    lambda text: json.dumps({"text": text}).encode(),
    lambda body: str(json.loads(body)["text"]),
    lambda body: _array(json.loads(body)["vector"]),
)
LISTED = Encoding(
    "application/json",
    lambda text: json.dumps({"text": text}).encode(),
    bytes.decode,
    lambda body: _array(json.loads(body)[0]),
    lambda text: json.dumps({"text": [text]}).encode(),
)


class HttpClient:
    """Asks a server on this machine, with a connection for each call in flight.

    Args:
        port: Where it listens.
        encoding: How it wants to be asked.
    """

    def __init__(self, port: int, encoding: Encoding = RAW) -> None:
        self._port = port
        self._encoding = encoding
        self._idle: deque[_Connection] = deque()

    async def ready(self, path: str = "/echo") -> bool:
        """Say whether it answers a short text with 200."""
        ask = self._encoding.ask_for_vector if path == "/embed" else None
        try:
            body = (ask or self._encoding.ask)("0")
            await asyncio.wait_for(self._post(path, body), 20.0)
        except (OSError, RuntimeError, TimeoutError):
            return False
        return True

    async def echo(self, text: str) -> str:
        """Send a text and return what came back."""
        return self._encoding.text(await self._post("/echo", self._encoding.ask(text)))

    async def tensor(self, array: Floats) -> Floats:
        """Send an array and return what came back."""
        return np.frombuffer(await self._post("/tensor", array.tobytes()), np.float32)

    async def stream(self, count: int) -> AsyncIterator[bytes]:
        """Yield what comes, as it comes."""
        connection = await self._connected()
        connection.ask("/stream", self._encoding.kind, self._encoding.ask(str(count)))
        async for piece in connection.pieces():
            yield piece
        self._release(connection)

    async def embed(self, text: str) -> Floats:
        """Return the vector of a text."""
        ask = self._encoding.ask_for_vector or self._encoding.ask
        return self._encoding.vector(await self._post("/embed", ask(text)))

    async def aclose(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    async def _post(self, path: str, body: bytes) -> bytes:
        connection = await self._connected()
        connection.ask(path, self._encoding.kind, body)
        answer = await connection.body()
        self._release(connection)
        return answer

    def _release(self, connection: "_Connection") -> None:
        connection.used = time.monotonic()
        self._idle.append(connection)

    async def _connected(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.open and time.monotonic() - connection.used < _IDLE_SECONDS:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        return made


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.open = True
        self.used = 0.0
        self._transport: Any = None
        self._ready: asyncio.Future[None] | None = None
        self._chunked = self._done = False
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self._wake()

    def ask(self, path: str, kind: str, body: bytes) -> None:
        """Send a request."""
        self._begin()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)

    async def body(self) -> bytes:
        """Return the whole answer."""
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the answer as they come.

        Raises:
            RuntimeError: The answer is not 200, or ends too early.
        """
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if self._done:
                break
            if not self.open:
                raise RuntimeError("the server closed the connection in the midst of an answer")
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready
        if self._status != 200:
            raise RuntimeError(f"the server answered {self._status}")

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what came: first the head, then the body, whole or in chunks."""
        if not self._status:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._read_head(bytes(self._head[:end]))
            data = bytes(self._head[end + 4 :])
        if self._chunked:
            self._read_chunks(data)
        else:
            self._left -= len(data)
            self._done = self._left <= 0
            if data:
                self._pieces.append(data)
        self._wake()

    def _begin(self) -> None:
        self._head = bytearray()
        self._status = 0
        self._left = 0
        self._chunked = self._done = False
        self._rest = b""
        self._pieces: deque[bytes] = deque()
        self._ready = None

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").lower().split("\r\n")
        self._status = int(first.split()[1])
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        self._chunked = fields.get("transfer-encoding") == "chunked"
        self._left = int(fields.get("content-length", 0))

    def _read_chunks(self, data: bytes) -> None:
        """Take the chunks that are whole; keep the rest for later."""
        data, place = self._rest + data, 0
        while (end := data.find(b"\r\n", place)) >= 0:
            size = int(data[place:end].split(b";")[0], 16)
            if len(data) < end + size + 4:
                break
            if not size:
                self._done = True
                break
            self._pieces.append(data[end + 2 : end + 2 + size])
            place = end + size + 4
        self._rest = data[place:]

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
