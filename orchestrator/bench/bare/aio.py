"""A bare grpc.aio server: `python -m orchestrator.bench.bare.aio PORT`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np

from orchestrator.bench.bare.contract import CHUNK, OPTIONS, SERVICE


async def echo(request: bytes, context: object) -> bytes:
    """Return the request."""
    return request


async def tensor(request: bytes, context: object) -> bytes:
    """Return the same float32 array, which has been an array meanwhile."""
    return np.frombuffer(request, np.float32).tobytes()


async def stream(request: bytes, context: object) -> AsyncIterator[bytes]:
    """Yield as many chunks as asked for."""
    for _ in range(int(request)):
        yield CHUNK


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server(options=OPTIONS)
    handlers: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Tensor": grpc.unary_unary_rpc_method_handler(tensor),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
