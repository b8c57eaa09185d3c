"""A bare unary grpc.aio server, nothing of the library: `python -m benchmarks.bare PORT`."""

import asyncio
import sys
from typing import Any

import grpc


async def answer(request: bytes, context: object) -> bytes:
    """Return the request."""
    return request


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Bare", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
