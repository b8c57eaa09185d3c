import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from orchestrator.bench.clients.http import KEYED, LISTED, Encoding, HttpClient
from orchestrator.core.ports import free_port

Answer = Callable[[str, bytes], list[bytes]]
"""A path and a body to the pieces of an answer, each of which is sent by itself."""


def whole(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@asynccontextmanager
async def serving(answer: Answer, connections: list[int] | None = None) -> AsyncIterator[int]:
    """Serve on a free port; note each connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connections is not None:
            connections.append(1)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                length = next(int(line.split()[1]) for line in lines if "Length" in line)
                body = await reader.readexactly(length)
                for piece in answer(lines[0].split()[1], body):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                    if piece == b"":
                        writer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    port = free_port()
    async with await asyncio.start_server(handle, "127.0.0.1", port, limit=2**26):
        yield port


async def test_texts_and_arrays_come_back_over_connections_that_are_kept() -> None:
    connections: list[int] = []
    array = np.random.default_rng(1).random(2**18, np.float32)
    async with serving(lambda path, body: [whole(body)], connections) as port:
        client = HttpClient(port)
        assert await client.ready()
        for _ in range(5):
            assert await client.echo("a text") == "a text"
        assert np.array_equal(await client.tensor(array), array)
        assert len(connections) == 1
        asked = [f"text {number}" for number in range(10)]
        assert await asyncio.gather(*map(client.echo, asked)) == asked
        assert len(connections) == 10
        await client.aclose()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
async def test_chunks_are_found_however_the_bytes_arrive(step: int) -> None:
    text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    text += b"3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n"
    pieces = [text[n : n + step] for n in range(0, len(text), step)]
    async with serving(lambda path, body: pieces) as port:
        client = HttpClient(port)
        assert [piece async for piece in client.stream(2)] == [b"abc", b"0123456789"]
        assert [piece async for piece in client.stream(2)] == [b"abc", b"0123456789"]
        await client.aclose()


@pytest.mark.parametrize(
    ("encoding", "answer", "asked"),
    [
        (KEYED, {"text": "x", "vector": [1.0, 2.0]}, {"text": "a text"}),
        (LISTED, [[1.0, 2.0]], {"text": ["a text"]}),
    ],
)
async def test_json_is_asked_and_understood(
    encoding: Encoding, answer: object, asked: object
) -> None:
    seen: list[tuple[str, object]] = []

    def note(path: str, body: bytes) -> list[bytes]:
        seen.append((path, json.loads(body)))
        return [whole(json.dumps(answer).encode())]

    async with serving(note) as port:
        client = HttpClient(port, encoding)
        assert (await client.embed("a text")).tolist() == [1.0, 2.0]
        await client.aclose()
    assert seen == [("/embed", asked)]


async def test_another_status_and_a_lost_connection_are_errors() -> None:
    async with serving(lambda path, body: [whole(b"no", 503)]) as port:
        client = HttpClient(port)
        with pytest.raises(RuntimeError, match="answered 503"):
            await client.echo("a text")
        assert not await client.ready()
        await client.aclose()
    cut = whole(b"12345678")[:-4]
    async with serving(lambda path, body: [cut, b""]) as port:
        client = HttpClient(port)
        with pytest.raises(RuntimeError, match="in the midst of an answer"):
            await client.echo("a text")
        await client.aclose()


async def test_nobody_listening_is_not_ready() -> None:
    assert not await HttpClient(free_port()).ready()
