"""The outbox of a session: all frames that are ready at one moment go out as one message.

A message costs some hundred times what a frame costs, so this is where a session's speed
comes from.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from orchestrator.core.deadline import Clock
from orchestrator.wire.frames import HEADER_BYTES, PART_BYTES, Kind, encode_frame

_SMALL_BYTES = 64 * 1024
"""Larger bodies travel in parts beside the small ones."""

_GATHER_SECONDS = 0.0005
"""How long frames wait for others in a busy moment: what three messages cost."""

_BUSY_SECONDS = 0.005
"""A message is sent at once if the last one is older than this."""

_FULL_BYTES = 4 * 1024 * 1024
_FIRST = (Kind.CALL, Kind.OPEN)
_ONE_A_CALL = (Kind.CALL, Kind.OPEN, Kind.RESULT, Kind.ERROR)


class Outbox:
    """Gathers frames and writes them; use it on one event loop only.

    Args:
        write: Sends one message, and waits while the other side does not read.
        outstanding: How many calls are under way.
        clock: Tells how busy the moment is.
    """

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        outstanding: Callable[[], int],
        clock: Clock = time.monotonic,
    ) -> None:
        self._write = write
        self._outstanding = outstanding
        self._small: deque[tuple[int, Kind, bytes]] = deque()
        self._begun: set[int] = set()  # whose first parts have been sent
        self._large: deque[tuple[int, Kind, memoryview]] = deque()
        self._in_parts: set[int] = set()
        self._bytes = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self._written = -_BUSY_SECONDS
        self._messages = 0
        self._pays = True
        self._clock = clock

    def put(self, kind: Kind, number: int, body: bytes = b"") -> None:
        """Add a frame; those of one call stay in order."""
        if len(body) > _SMALL_BYTES and number not in self._in_parts:
            self._in_parts.add(number)
            before = [entry for entry in self._small if entry[0] == number]
            if before:  # they would arrive in the midst of its parts
                self._small = deque(entry for entry in self._small if entry[0] != number)
                self._large.extend((number, kind, memoryview(body)) for _, kind, body in before)
        if number in self._in_parts:
            self._large.append((number, kind, memoryview(body)))
        else:
            self._small.append((number, kind, body))
        self._count(len(body) + HEADER_BYTES)
        self._ready.set()

    def drop(self, number: int) -> bool:
        """Forget the frames of a call; say whether its first one had not been sent yet."""
        unsent = number in self.unsent()
        self._small = deque(entry for entry in self._small if entry[0] != number)
        self._large = deque(entry for entry in self._large if entry[0] != number)
        self._in_parts.discard(number)
        self._begun.discard(number)
        waiting = (*self._small, *self._large)
        self._bytes = sum(len(body) + HEADER_BYTES for _, _, body in waiting)
        self._count(0)
        return unsent

    def unsent(self) -> frozenset[int]:
        """Return the calls of which nothing has been sent yet."""
        waiting = (*self._small, *self._large)
        first = (number for number, kind, _ in waiting if kind in _FIRST)
        return frozenset(first) - self._begun

    async def room(self) -> None:
        """Wait until what waits to be sent is little again."""
        await self._room.wait()

    def close(self) -> None:
        """Let `run` end once everything is sent."""
        self._closing = True
        self._ready.set()

    async def run(self) -> None:
        """Write until closed."""
        while True:
            await self._ready.wait()
            while self._small or self._large:
                await self._gather()
                if message := self._next_message():
                    self._written = self._clock()
                    await self._write(message)
            self._ready.clear()
            if self._closing:
                return

    async def _gather(self) -> None:
        """Let the loop turn a little in a busy moment, for more frames are bound to come.

        Without this, caller and node that answer each other at the same speed settle at one
        frame a message, which is the slowest pace there is. Where it gains nothing, it is tried
        at every sixteenth message only.
        """
        self._messages += 1
        began = self._clock()
        if began - self._written > _BUSY_SECONDS or (self._messages % 16 and not self._pays):
            return
        before = len(self._small)
        while len(self._small) < self._outstanding() // 2:
            if self._large or self._clock() - began > _GATHER_SECONDS:
                break
            await asyncio.sleep(0)
        self._pays = len(self._small) > before

    def _next_message(self) -> bytes:
        """Take what goes next: small frames, and one part of a large body.

        At most half of the calls under way go together: were it all of them, caller and node
        would work in turns and one of two cores would always wait.
        """
        taken: list[bytes] = []
        left, room = max(1, (self._outstanding() + 1) // 2), PART_BYTES
        while self._small and left > 0 and room > 0:
            number, kind, body = self._small.popleft()
            taken.append(encode_frame(kind, number, body))
            left, room = left - (kind in _ONE_A_CALL), room - len(taken[-1])
        self._count(-sum(map(len, taken)))
        if self._large:
            taken.append(self._next_part())
        return b"".join(taken)

    def _next_part(self) -> bytes:
        number, kind, body = self._large[0]
        if len(body) > PART_BYTES:
            self._large[0] = number, kind, body[PART_BYTES:]
            self._begun.add(number)
            self._count(-PART_BYTES)
            return encode_frame(Kind.PART, number, bytes(body[:PART_BYTES]))
        self._large.popleft()
        self._begun.discard(number)
        if not any(entry[0] == number for entry in self._large):
            self._in_parts.discard(number)
        self._count(-len(body) - HEADER_BYTES)
        return encode_frame(kind, number, bytes(body))

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > _FULL_BYTES:
            self._room.clear()
        else:
            self._room.set()
