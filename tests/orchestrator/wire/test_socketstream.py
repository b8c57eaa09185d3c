import asyncio
import gc
import os
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.wire import socketstream
from orchestrator.wire.frames import MESSAGE_BYTES
from orchestrator.wire.socketstream import PREFIX, SocketStream, dial, is_trusted, machine

MIB = 2**20


class Server:
    """Listens as a node does; gives each connection as a stream."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.name = prefix + secrets.token_hex(8)
        self.streams: asyncio.Queue[SocketStream] = asyncio.Queue()

    async def start(self, greeting: bytes | None) -> asyncio.Server:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0{self.name}")
        queue = self.streams

        class Greeting(SocketStream):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if greeting is None:
                    self.cancel()
                else:
                    self._transport.write(struct.pack("<I", len(greeting)) + greeting)
                    queue.put_nowait(self)

        return await asyncio.get_running_loop().create_unix_server(Greeting, sock=listener)


@asynccontextmanager
async def serving(greeting: bytes | None = b"", prefix: str = PREFIX) -> AsyncIterator[Server]:
    server = Server(prefix)
    async with await server.start(greeting):
        yield server


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[SocketStream, SocketStream]]:
    async with serving() as server:
        near = await dial(server.name)
        far = await server.streams.get()
        try:
            yield near, far
        finally:
            near.cancel()
            far.cancel()


async def soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def test_messages_of_any_length_arrive_whole_and_in_order_both_ways() -> None:
    messages = [b"", b"x", bytes(3), os.urandom(MESSAGE_BYTES), b"y" * 70_000, b"", b"z"]
    async with joined() as ends:
        for writer, reader in (ends, ends[::-1]):
            writing = asyncio.create_task(write_all(writer, messages))
            assert [await reader.read() for _ in messages] == messages
            await writing


async def write_all(stream: SocketStream, messages: list[bytes]) -> None:
    for message in messages:
        await stream.write(message)


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.reading, self.aborted = True, False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


@given(st.lists(st.binary(max_size=300), max_size=7), st.lists(st.integers(1, 50)))
def test_however_the_bytes_are_cut_the_messages_are_the_same(
    messages: list[bytes], cuts: list[int]
) -> None:
    stream = SocketStream()
    stream.connection_made(FakeTransport())
    data = b"".join(struct.pack("<I", len(message)) + message for message in messages)
    for cut in cuts:
        stream.data_received(data[:cut])
        data = data[cut:]
    stream.data_received(data)
    assert list(stream._messages) == messages


def test_a_length_that_no_message_has_ends_the_connection_and_takes_no_memory() -> None:
    for data in (b"\xff" * 4, b"\xff" * 1000):
        transport, stream = FakeTransport(), SocketStream()
        stream.connection_made(transport)
        stream.data_received(data)
        assert transport.aborted
        assert not stream._messages


def test_who_is_not_read_is_not_heard_any_further_and_later_is_again() -> None:
    transport, stream = FakeTransport(), SocketStream()
    stream.connection_made(transport)
    for _ in range(8):
        assert transport.reading
        stream.data_received(struct.pack("<I", 1) + b"x")
    assert not transport.reading

    async def read() -> None:
        assert await stream.read() == b"x"

    asyncio.run(read())
    assert transport.reading


async def test_a_writer_waits_while_nobody_reads() -> None:
    async with joined() as (near, far):
        writing = asyncio.create_task(write_all(near, [bytes(MIB // 2)] * 40))
        await asyncio.sleep(0.1)
        assert not writing.done()
        for _ in range(40):
            assert len(await far.read() or b"") == MIB // 2
        await writing


async def test_after_the_end_there_is_nothing_to_read_and_nothing_can_be_written() -> None:
    async with joined() as (near, far):
        await far.write(b"last")
        await far.aclose()
        assert await near.read() == b"last"
        assert await near.read() is None
        with pytest.raises(asyncio.InvalidStateError):
            await near.write(b"x")


async def test_a_reader_and_a_writer_who_wait_hear_of_the_end() -> None:
    async with joined() as (near, far):
        reading = asyncio.create_task(near.read())
        writing = asyncio.create_task(write_all(far, [bytes(MIB)] * 40))
        await asyncio.sleep(0.05)
        far.cancel()
        with pytest.raises(asyncio.InvalidStateError):
            await asyncio.wait_for(writing, 20)
        await asyncio.wait_for(reading, 20)


async def test_nobody_there_is_an_error_at_once_and_leaves_no_descriptor() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            await dial(PREFIX + "nobody")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_node_that_does_not_greet_is_an_error() -> None:
    async with serving(greeting=None) as server:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(dial(server.name), 20)
    async with serving(greeting=b"220 mail ready") as server:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(dial(server.name), 20)


async def test_a_socket_of_another_program_is_not_spoken_to() -> None:
    async with serving(prefix="other-") as server:
        with pytest.raises(PermissionError):
            await dial(server.name)
        await asyncio.sleep(0.01)


async def test_a_socket_of_another_user_is_not_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        (await dial(server.name)).cancel()  # the positive control
        monkeypatch.setattr(socketstream, "is_trusted", lambda connection: False)
        with pytest.raises(PermissionError):
            await dial(server.name)


class Peer:
    """A connection of which the kernel says that such a user is at its other end."""

    def __init__(self, user: int) -> None:
        self.user = user

    def getsockopt(self, *_: int) -> bytes:
        return struct.pack("iII", 1, self.user, 1)


def test_this_user_and_root_are_trusted_and_nobody_else() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert is_trusted(near)
        user = os.geteuid()

        for found, trusted in ((user, True), (0, True), (user + 1, False), (65534, False)):
            assert is_trusted(Peer(found)) is trusted  # type: ignore[arg-type]


def test_a_machine_tells_itself_from_others_and_stays_the_same() -> None:
    assert machine() == machine()
    assert len(machine()) > 20
