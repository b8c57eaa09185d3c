"""Nodes that mean harm: `python -m benchmarks.proofs.hostile_node PORT WHAT`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc

from benchmarks.proofs.bodies import chunk_body, result_body
from orchestrator.wire.frames import PART_BYTES, Kind, encode_frame
from protos.isthmus.v1 import node_pb2 as pb

_MANY = 20_000

Messages = AsyncIterator[bytes]


async def _beyond_credit() -> Messages:
    """Send chunks of a stream whatever its reader has read."""
    chunk = encode_frame(Kind.CHUNK, 1, chunk_body(bytes(PART_BYTES // 4)))
    while True:
        yield chunk


async def _empty_chunks() -> Messages:
    """Send one value, and then chunks that cost no credit, since they have no body."""
    yield encode_frame(Kind.CHUNK, 1, chunk_body(None))
    message = encode_frame(Kind.CHUNK, 1) * _MANY
    while True:
        yield message


async def _endless_body() -> Messages:
    """Send parts of one body without end."""
    part = encode_frame(Kind.PART, 1, bytes(PART_BYTES))
    while True:
        yield part


async def _strange_answers() -> Messages:
    """Answer calls that nobody made."""
    body, number = result_body("x" * 100), 1000
    while True:
        frames = [encode_frame(Kind.RESULT, number + index, body) for index in range(2000)]
        number += 2000
        yield b"".join(frames)


async def _huge_claim() -> Messages:
    """Claim 4 GiB in the header of a frame."""
    yield b"\xff\xff\xff\xff" + encode_frame(Kind.RESULT, 1)[4:]
    await asyncio.Event().wait()


async def _silence() -> Messages:
    """Say nothing at all."""
    await asyncio.Event().wait()
    yield b""


SCRIPTS: Mapping[str, Callable[[], Messages]] = {
    "beyond credit": _beyond_credit,
    "empty chunks": _empty_chunks,
    "endless body": _endless_body,
    "strange answers": _strange_answers,
    "huge claim": _huge_claim,
    "silence": _silence,
}


async def serve(port: int, script: Callable[[], Messages]) -> None:
    """Serve sessions until killed; each says its script once its caller has said something."""

    async def session(requests: Any, context: Any) -> AsyncIterator[pb.SessionMessage]:
        async for _ in requests:
            break
        async for frames in script():
            yield pb.SessionMessage(frames=frames)

    handler = grpc.stream_stream_rpc_method_handler(
        session, pb.SessionMessage.FromString, pb.SessionMessage.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("isthmus.v1.Node", {"Session": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), SCRIPTS[sys.argv[2]]))
