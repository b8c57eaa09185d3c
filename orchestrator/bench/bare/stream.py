"""A bare echo over one gathering stream: `python -m orchestrator.bench.bare.stream PORT`.

Numbered frames and nothing else: no policy, deadline, cancellation, credit or error.
"""

import asyncio
import sys
from typing import Any

import grpc

from orchestrator.bench.bare.contract import OPTIONS, SERVICE, frame, frames
from orchestrator.bench.bare.gather import Gatherer


async def echo(body: bytes) -> bytes:
    """Return the body."""
    return body


async def session(requests: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    """Answer frames, each in a task of its own, until the caller has gone."""
    answers, tasks = Gatherer(context.write), set[asyncio.Task[None]]()

    async def answer(number: int, body: bytes) -> None:
        answers.put(frame(number, await echo(body)))

    writing = asyncio.create_task(answers.run())
    try:
        async for message in requests:
            for number, body in frames(message):
                task = asyncio.create_task(answer(number, body))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    finally:
        writing.cancel()


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server(options=OPTIONS)
    handlers: dict[str, Any] = {"Session": grpc.stream_stream_rpc_method_handler(session)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
