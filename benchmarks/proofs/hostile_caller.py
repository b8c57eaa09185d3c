"""Callers that mean harm: `python -m benchmarks.proofs.hostile_caller ADDRESS WHAT`.

It says "done" when it has done all it does, and keeps its sessions open until it is killed.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

from benchmarks.proofs.bodies import call_body
from orchestrator.wire.frames import PART_BYTES, Kind, encode_frame
from orchestrator.wire.messages import encode_credit
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

MIB = 2**20
YEAR = 365 * 86400.0

MAX_IN_FLIGHT = 64
MAX_CALL_MIB = 4
"""What the ill-treated node allows: little, so that what goes beyond is soon seen."""


class Peer:
    """One connection of a stranger, who opens sessions and says what it likes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._streams: list[Any] = []

    def session(self) -> "Saying":
        """Open one more session."""
        stub: Any = NodeStub(self._channel)
        self._streams.append(stub.Session())
        return Saying(self._streams[-1])

    def leave(self) -> None:
        """Cut all sessions."""
        for stream in self._streams:
            stream.cancel()


class Saying:
    """One session: frames go in, and answers are read only on purpose."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def frames(self, frames: Sequence[bytes]) -> None:
        """Send frames in one message; wait while the node does not read."""
        await self._stream.write(pb.SessionMessage(frames=b"".join(frames)))

    async def read(self) -> Any:
        """Return the next message of the node."""
        return await self._stream.read()

    async def ended(self) -> None:
        """Wait until the node has cut the session, whatever it still says."""
        with suppress(grpc.aio.AioRpcError):
            while await self._stream.read() is not grpc.aio.EOF:
                pass


@asynccontextmanager
async def peer(address: str) -> AsyncIterator[Peer]:
    """Connect a stranger to a node."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        stranger = Peer(channel)
        try:
            yield stranger
        finally:
            stranger.leave()


async def unread_stream(stranger: Peer) -> None:
    """Open one endless stream, and neither read nor credit it."""
    await _open(stranger.session(), 1)


async def unread_streams(stranger: Peer) -> None:
    """Open many endless streams in one session, and neither read nor credit them."""
    await _open(stranger.session(), MAX_IN_FLIGHT - 8)


async def _open(session: Saying, count: int) -> None:
    body = call_body("pour", YEAR, count=10**9, size=PART_BYTES // 4)
    await session.frames([encode_frame(Kind.OPEN, n, body) for n in range(1, count + 1)])


async def unread_results(stranger: Peer) -> None:
    """Ask for many large results and read none."""
    body = call_body("large", YEAR, size=MIB)
    calls = [encode_frame(Kind.CALL, n, body) for n in range(1, MAX_IN_FLIGHT - 8)]
    await stranger.session().frames(calls)


async def endless_body(stranger: Peer) -> None:
    """Send parts of one body without end."""
    session, part = stranger.session(), encode_frame(Kind.PART, 1, bytes(PART_BYTES))
    for _ in range(50 * MAX_CALL_MIB):
        await session.frames([part])


async def half_bodies(stranger: Peer) -> None:
    """Send most of a large body in each of many sessions, and never the rest."""
    part = encode_frame(Kind.PART, 1, bytes(PART_BYTES))
    for _ in range(40):
        session = stranger.session()
        for _ in range(4 * MAX_CALL_MIB - 1):
            await session.frames([part])


async def many_bodies(stranger: Peer) -> None:
    """Send large bodies of many calls side by side in one session, until it is cut."""
    session = stranger.session()
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for _ in range(4 * MAX_CALL_MIB - 1):
            for number in range(1, 40):
                await session.frames([encode_frame(Kind.PART, number, bytes(PART_BYTES))])


async def many_heads(stranger: Peer) -> None:
    """Call services that are not there, each of another long name."""
    session = stranger.session()
    for number in range(1, 1500):
        body = call_body(f"{number}{'x' * 60_000}")
        await session.frames([encode_frame(Kind.CALL, number, body)])
        await session.read()


async def many_calls(stranger: Peer) -> None:
    """Make far more calls than the node takes, and read no answer."""
    session, body = stranger.session(), call_body("stall", YEAR)
    for first in range(1, 20_000, 1000):
        calls = [encode_frame(Kind.CALL, n, body) for n in range(first, first + 1000)]
        await session.frames(calls)


async def huge_claims(stranger: Peer) -> None:
    """Claim 4 GiB in the header of a frame, again and again."""
    claim = b"\xff\xff\xff\xff" + encode_frame(Kind.PART, 1)[4:]
    for _ in range(200):
        session = stranger.session()
        await session.frames([claim])
        await session.ended()


async def long_messages(stranger: Peer) -> None:
    """Send messages that gRPC lets pass and a session does not."""
    for _ in range(80):
        session = stranger.session()
        with suppress(grpc.aio.AioRpcError):
            await session.frames([bytes(MAX_CALL_MIB * MIB)])
        await session.ended()


async def idle_words(stranger: Peer) -> None:
    """Cancel and credit calls that are not there."""
    session, credit = stranger.session(), encode_credit(2**32 - 1)
    for number in range(0, 200_000, 5000):
        for kind, body in ((Kind.CANCEL, b""), (Kind.CREDIT, credit)):
            await session.frames([encode_frame(kind, number + i, body) for i in range(5000)])


async def far_deadlines(stranger: Peer) -> None:
    """Make small calls that are due in a year, each at another moment, and read the answers."""
    session, number = stranger.session(), 0
    for _ in range(300):
        calls = []
        for _ in range(32):
            number += 1
            body = call_body("nap", YEAR + number)
            calls.append(encode_frame(Kind.CALL, number, body))
        await session.frames(calls)
        await session.read()


Attack = Callable[[Peer], Coroutine[Any, Any, None]]

ATTACKS: Mapping[str, Attack] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        unread_stream, unread_streams, unread_results, endless_body, half_bodies, many_bodies,
        many_heads, many_calls, huge_claims, long_messages, idle_words, far_deadlines,
    )
}  # fmt: skip


async def main(address: str, what: str) -> None:
    """Do one kind of harm."""
    async with peer(address) as stranger:
        await ATTACKS[what](stranger)
        print("done", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
