"""An echo behind the library's own session and nothing more of it.

`python -m orchestrator.bench.bare.session PORT`: frames, parts and the outbox are those of a
node; there is no call, policy, label, deadline or metric.
"""

import asyncio
import sys
from typing import Any

import grpc

from orchestrator.bench.bare.contract import OPTIONS
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.frames import Kind
from orchestrator.wire.outbox import Outbox

# The library's callers ask every ten seconds whether the other end is alive.
_PINGS = [
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]
_MOST = 2**20
_SERVICE = "isthmus.v1.Node"


async def session(requests: object, context: Any) -> None:
    """Answer calls until the caller has gone."""
    outbox, assembler = Outbox(context.write), Assembler(_MOST)
    writing = asyncio.create_task(outbox.run())
    try:
        while isinstance(message := await context.read(), bytes):
            for kind, number, body in assembler.whole(message):
                if kind is Kind.CALL and body is not None:
                    outbox.put(Kind.RESULT, number, body)
    finally:
        writing.cancel()


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server(options=[*OPTIONS, *_PINGS])
    handler: Any = grpc.stream_stream_rpc_method_handler(session)
    handlers = {"Session": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
