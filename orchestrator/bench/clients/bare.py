"""Clients of the bare transports: unary and server streaming, and a gathering stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import numpy as np

from orchestrator.bench.bare.contract import OPTIONS, SERVICE, frame, frames
from orchestrator.bench.bare.gather import Gatherer
from orchestrator.bench.parties import Floats


class BareClient:
    """Asks a bare gRPC server with grpc.aio, one RPC a call.

    Args:
        address: Where it listens.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._echo: Any = self._channel.unary_unary(f"/{SERVICE}/Echo")
        self._tensor: Any = self._channel.unary_unary(f"/{SERVICE}/Tensor")
        self._stream: Any = self._channel.unary_stream(f"/{SERVICE}/Stream")

    async def ready(self) -> bool:
        """Say whether there is a connection, after waiting a little for one."""
        return await connected(self._channel)

    async def echo(self, text: str) -> bytes:
        """Send a text and return what came back."""
        return cast(bytes, await self._echo(text.encode()))

    async def tensor(self, array: Floats) -> Floats:
        """Send an array and return what came back."""
        return np.frombuffer(await self._tensor(array.tobytes()), np.float32)

    async def stream(self, count: int) -> AsyncIterator[bytes]:
        """Yield so many chunks."""
        call = self._stream(b"%d" % count)
        try:
            async for chunk in call:
                yield chunk
        finally:
            call.cancel()  # gRPC never collects a stream that was left half read

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()


class GatheringClient:
    """Asks the bare gathering stream: numbered frames, all that is ready in one message.

    Args:
        address: Where it listens.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._last = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def ready(self) -> bool:
        """Open the stream once there is a connection, and say whether there is."""
        if not await connected(self._channel):
            return False
        stream: Any = self._channel.stream_stream(f"/{SERVICE}/Session")()
        self._requests = Gatherer(stream.write)
        running = self._requests.run(), self._read(stream)
        self._tasks = [asyncio.create_task(work) for work in running]
        return True

    async def echo(self, text: str) -> bytes:
        """Send a text and return what came back."""
        self._last += 1
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[self._last] = answer
        self._requests.put(frame(self._last, text.encode()))
        return await answer

    async def aclose(self) -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _read(self, stream: Any) -> None:
        async for message in stream:
            for number, body in frames(message):
                self._answers.pop(number).set_result(body)


async def connected(channel: grpc.aio.Channel, seconds: float = 0.5) -> bool:
    """Say whether a channel has a connection, after waiting a little for one."""
    try:
        await asyncio.wait_for(channel.channel_ready(), seconds)
    except TimeoutError:
        return False
    return True
