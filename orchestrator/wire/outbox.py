"""The outbox of a session: all frames that are ready at one moment go out as one message.

A message costs some hundred times what a frame costs, so this is where a session's speed
comes from.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from orchestrator.core.deadline import Clock
from orchestrator.wire.frames import (
    BESIDE_BYTES,
    HEADER_BYTES,
    PART_BYTES,
    SMALL_BYTES,
    Buffer,
    Kind,
    encode_frame,
    encode_header,
    encode_message,
    kind_of,
)
from orchestrator.wire.memory import SharedMemory
from orchestrator.wire.share import Share

_GATHER_SECONDS = 0.0005
"""How long frames wait for others in a busy moment: what three messages cost."""

_BUSY_SECONDS = 0.005
"""A message is sent at once if the last one is older than this."""

_FULL_BYTES = 4 * 1024 * 1024
_FIRST = (Kind.CALL, Kind.OPEN)
_ONE_A_CALL = (*_FIRST, Kind.RESULT, Kind.ERROR)


class _Body:
    """A body on its way in parts."""

    __slots__ = ("kind", "left", "pieces", "size")

    def __init__(self, kind: Kind, size: int, pieces: Sequence[Buffer]) -> None:
        self.kind = kind
        self.size = self.left = size
        self.pieces = deque(memoryview(piece) for piece in pieces)

    @property
    def begun(self) -> bool:
        """Whether a part of it has been sent."""
        return self.left < self.size

    def take(self, most: int) -> list[Buffer]:
        """Take the next pieces of it, so many bytes at most."""
        taken: list[Buffer] = []
        while self.pieces and most > 0:
            piece = self.pieces.popleft()
            if len(piece) > most:
                self.pieces.appendleft(piece[most:])
                piece = piece[:most]
            taken.append(piece)
            most -= len(piece)
            self.left -= len(piece)
        return taken


class Outbox:
    """Gathers frames and writes them; use it on one event loop only.

    Args:
        write: Sends one message, and waits while the other side does not read.
        outstanding: How many calls are under way, of which a message carries a share. None
            sends what is there.
        clock: Tells how busy the moment is.
        memory: Where large bodies go instead, if both ends share any.
    """

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[object]],
        outstanding: Callable[[], int] | None = None,
        clock: Clock = time.monotonic,
        memory: SharedMemory | None = None,
    ) -> None:
        self._write = write
        self._memory = memory
        if memory is not None:
            memory.connect(self.put)
        self._outstanding = outstanding
        self._small: deque[tuple[int, Kind, bytes]] = deque()
        self._large: dict[int, deque[_Body]] = {}  # in the order in which calls get their turn
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._bytes = 0
        self._closing = False
        self._written = -_BUSY_SECONDS
        self._messages = 0
        self._pays = True
        self._clock = clock
        self._share = Share()

    @property
    def full(self) -> bool:
        """Whether so much waits to be sent that no more should come; `room` waits for the end."""
        return self._bytes > _FULL_BYTES

    def put(self, kind: Kind, number: int, body: Buffer | list[Buffer] = b"") -> None:
        """Add a frame, its body whole or in pieces; the frames of one call stay in order."""
        if isinstance(body, list):
            if len(body) > 1:
                self._put_pieces(kind, number, body)
                return
            body = body[0]
        if len(body) > SMALL_BYTES or (self._large and number in self._large):
            self._put_large(kind, number, len(body), [body])
        else:
            self._put_small(kind, number, encode_frame(kind, number, body))
        self._ready.set()

    def _put_small(self, kind: Kind, number: int, frame: bytes) -> None:
        self._small.append((number, kind, frame))
        self._count(len(frame))

    def _put_pieces(self, kind: Kind, number: int, pieces: list[Buffer]) -> None:
        if (size := sum(map(len, pieces))) <= SMALL_BYTES:
            self.put(kind, number, b"".join(pieces))
            return
        if number in self._large or self._memory is None:
            shared = None
        else:
            shared = self._memory.place(kind, pieces)
        if shared is not None:
            self._put_small(kind, number, encode_frame(Kind.SHARED, number, shared))
        else:
            self._put_large(kind, number, size, pieces)
        self._ready.set()

    def _put_large(self, kind: Kind, number: int, size: int, pieces: list[Buffer]) -> None:
        bodies = self._large.get(number)
        if bodies is None:
            bodies = self._large[number] = deque()
            for _, _, frame in self._take_small(number):  # in the midst of its parts else
                body = memoryview(frame)[HEADER_BYTES:]
                bodies.append(_Body(kind_of(frame), len(body), [body]))
        bodies.append(_Body(kind, size, pieces))
        self._count(HEADER_BYTES + size)

    def drop(self, number: int) -> bool:
        """Forget the frames of a call; say whether its first one had not been sent yet."""
        waiting = self._take_small(number)
        unsent = bool(waiting) and waiting[0][1] in _FIRST
        self._count(-sum(len(frame) for _, _, frame in waiting))
        for _, _, frame in waiting:
            self._take_back(kind_of(frame), memoryview(frame)[HEADER_BYTES:])
        if bodies := self._large.pop(number, None):
            unsent = bodies[0].kind in _FIRST and not bodies[0].begun
            self._count(-sum(HEADER_BYTES + body.left for body in bodies))
            for body in bodies:
                self._take_back(body.kind, body.pieces[0])
            if bodies[0].begun:
                self.put(Kind.PART, number)
        return unsent

    def _take_back(self, kind: Kind, body: Buffer) -> None:
        if kind is Kind.SHARED and self._memory is not None:
            self._memory.take_back(body)

    def _take_small(self, number: int) -> list[tuple[int, Kind, bytes]]:
        taken = [entry for entry in self._small if entry[0] == number]
        if taken:
            self._small = deque(entry for entry in self._small if entry[0] != number)
        return taken

    def unsent(self) -> frozenset[int]:
        """Return the calls of which nothing has been sent yet."""
        small = {number for number, kind, _ in self._small if kind in _FIRST}
        fronts = ((number, bodies[0]) for number, bodies in self._large.items())
        return frozenset(small).union(n for n, b in fronts if b.kind in _FIRST and not b.begun)

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
                if self._outstanding is not None:
                    await self._gather(self._outstanding)
                if self._small or self._large:
                    self._written = self._clock()
                    message = self._next_message()
                    await self._write(message)
            self._ready.clear()
            if self._closing:
                return

    async def _gather(self, outstanding: Callable[[], int]) -> None:
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
        while len(self._small) < outstanding() // 2:
            if self._large or self._clock() - began > _GATHER_SECONDS:
                break
            await asyncio.sleep(0)
        self._pays = len(self._small) > before

    def _next_message(self) -> bytes:
        """Take what goes next: small frames, and one part of a large body."""
        pieces: list[Buffer] = []
        left, room = len(self._small), PART_BYTES
        if self._outstanding is not None:
            left = self._share.most(self._outstanding())
        while self._small and left > 0 and room > 0:
            _, kind, frame = self._small.popleft()
            pieces.append(frame)
            room -= len(frame)
            left -= kind in _ONE_A_CALL
        self._share.sent(len(pieces), self._written)
        self._count(room - PART_BYTES)
        if self._large:
            pieces += self._next_part()
        if self._memory is not None and (body := self._memory.released()):
            pieces.append(encode_frame(Kind.RELEASE, 0, body))
        return encode_message(pieces)

    def _next_part(self) -> list[Buffer]:
        number = next(number for number, bodies in self._large.items() if self._may_go(bodies[0]))
        bodies = self._large.pop(number)
        body = bodies[0]
        kind = Kind.PART if body.left > PART_BYTES else body.kind
        taken = body.take(PART_BYTES)
        length = sum(map(len, taken))
        self._count(-length)
        if not body.left:
            bodies.popleft()
            self._count(-HEADER_BYTES)
        if bodies:
            self._large[number] = bodies
        return [encode_header(kind, number, length), *taken]

    def _may_go(self, body: _Body) -> bool:
        """Say whether a part of a body may go: the other end has room for few of them at once."""
        if body.begun or body.size <= PART_BYTES:
            return True
        begun = [bodies[0].size for bodies in self._large.values() if bodies[0].begun]
        together = [body.size, *begun]
        return sum(together) - max(together) <= BESIDE_BYTES

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > _FULL_BYTES:
            self._room.clear()
        elif more < 0:
            self._room.set()
