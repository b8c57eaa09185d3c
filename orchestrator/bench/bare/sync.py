"""A bare grpc server with a pool of threads: `python -m orchestrator.bench.bare.sync PORT`."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from orchestrator.bench.bare.contract import CHUNK, OPTIONS, SERVICE

_THREADS = 16


def echo(request: bytes, context: object) -> bytes:
    """Return the request."""
    return request


def tensor(request: bytes, context: object) -> bytes:
    """Return the same float32 array, which has been an array meanwhile."""
    return np.frombuffer(request, np.float32).tobytes()


def stream(request: bytes, context: object) -> Iterator[bytes]:
    """Yield as many chunks as asked for."""
    for _ in range(int(request)):
        yield CHUNK


def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(_THREADS), options=OPTIONS)
    handlers: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Tensor": grpc.unary_unary_rpc_method_handler(tensor),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
