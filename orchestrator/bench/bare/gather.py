"""Gathering: what is ready when the writer comes round goes out as one message."""

import asyncio
from collections.abc import Awaitable, Callable


class Gatherer:
    """Writes frames, several in one message.

    Args:
        write: Sends a message.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[bytes] = []
        self._ready = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Add a frame."""
        self._waiting.append(frame)
        self._ready.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            message, self._waiting = b"".join(self._waiting), []
            await self._write(message)
