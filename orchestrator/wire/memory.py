"""Sharing memory over a session: large bodies lie in an arena, and a small frame says where.

Each end offers its arena in a SHARE frame; who can open it is on the same machine and says so.
From then on SHARED frames stand for frames with large bodies. What has to be checked is in the
frame; in the arena lies only the data of arrays, which the other end reads in place, and of
bytes, which it copies. RELEASE frames give back what nobody looks at any more.
"""

import asyncio
import gc
import os
import struct
import weakref
from collections.abc import Callable
from contextlib import suppress

from orchestrator.core.errors import WireError
from orchestrator.wire.arena import AVAILABLE, Arena, OpenedArena
from orchestrator.wire.frames import SMALL_BYTES, Buffer, Kind, SplitBody

SHARED_BYTES = 128 * 1024 * 1024
"""What each end of a session may have in shared memory, by default."""

_SHARED = struct.Struct("<BQQ")
_PLACE = struct.Struct("<Q")
_STANDS_FOR = {kind.value: kind for kind in (Kind.CALL, Kind.OPEN, Kind.RESULT, Kind.CHUNK)}

_RELEASE_SECONDS = 0.002
"""How long freed memory waits for a message to go with."""

_COLLECT_SECONDS = 1.0
"""After the end of a session, when its calls have ended, too."""

Put = Callable[[Kind, int, bytes], None]


class SharedMemory:
    """One end's part in sharing memory; use it on one event loop only, and connect it first.

    Args:
        size: How many bytes its own arena has.
        most: The most bytes of one body.
        random: Gives so many random bytes.
    """

    _put: Put

    def __init__(self, size: int, most: int, random: Callable[[int], bytes] = os.urandom) -> None:
        self._size = size
        self._most = most
        self._random = random
        self._own: Arena | None = None
        self._theirs: OpenedArena | None = None
        self._shares = False  # whether the other end has opened ours
        self._unread: list[int] = []
        self._views = 0  # how many bodies somebody here still looks at
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def connect(self, put: Put) -> None:
        """Say what puts frames into the outbox."""
        self._put = put

    def offer(self) -> None:
        """Offer this end's arena to the other; without one everything travels as before."""
        with suppress(OSError):
            self._own = Arena(self._size, self._random)
            self._put(Kind.SHARE, 0, self._own.ticket)

    def hear(self, kind: Kind, body: bytes) -> None:
        """Take a SHARE or a RELEASE frame.

        Raises:
            WireError: It makes no sense.
        """
        if self._closed:
            return
        if kind is Kind.SHARE and body:
            self._open(body)
        elif self._own is None:
            raise WireError("a frame speaks of shared memory that there is not")
        elif kind is Kind.SHARE:
            self._shares = True
            self._own.opened()
        elif len(body) % _PLACE.size:
            raise WireError("a RELEASE frame has a body of another length")
        else:
            for (place,) in _PLACE.iter_unpack(body):
                self._own.free(place)

    def place(self, kind: Kind, pieces: list[Buffer]) -> bytes | None:
        """Put a large body into shared memory.

        Returns:
            The body of the SHARED frame that stands for it, or None if it has to travel.
        """
        start = pieces[0]
        if not self._shares or self._own is None or len(start) > SMALL_BYTES:
            return None
        rest = pieces[1:]
        place = self._own.write(rest, len(rest[0]))  # a padding comes before the first array
        if place is None:
            return None
        return _SHARED.pack(kind, place, sum(map(len, rest))) + start

    def take_back(self, body: Buffer) -> None:
        """Free the body of a SHARED frame that was not sent."""
        if self._own is not None:
            self._own.free(_SHARED.unpack_from(body)[1])

    def read(self, body: bytes) -> tuple[Kind, SplitBody | None]:
        """Return what a SHARED frame stands for: None for a body that is too large.

        Raises:
            WireError: It makes no sense.
        """
        if self._theirs is None or len(body) < _SHARED.size:
            raise WireError("a frame speaks of shared memory that there is not")
        code, place, length = _SHARED.unpack_from(body)
        kind = _STANDS_FOR.get(code)
        if kind is None:
            raise WireError("a SHARED frame stands for one that has no large body")
        view = self._theirs.view(place, length)
        # Every array over it keeps it alive, so at its end nobody looks there any more.
        weakref.finalize(view, self._no_more_read, place).atexit = False
        self._views += 1
        split = SplitBody(body[_SHARED.size :])
        split.rest = view
        return kind, split if split.size <= self._most else None

    def released(self) -> bytes:
        """Return the body of a RELEASE frame for what was freed here; empty if nothing was."""
        places, self._unread = self._unread, []
        return b"".join(map(_PLACE.pack, places))

    def close(self) -> None:
        """Give both arenas up; arrays over them stay as they are."""
        self._closed = True
        self._shares = False
        if self._timer is not None:
            self._timer.cancel()
        if self._own is not None:
            self._own.close()
        self._own = self._theirs = None
        if self._views > 0:
            self._loop.call_later(_COLLECT_SECONDS, self._collect)

    def _collect(self) -> None:
        """Free what only circles of references keep, such as those of a body's exceptions.

        In a process with nothing to do Python would not look for them, and the memory of a dead
        peer would stay.
        """
        if self._views > 0:
            gc.collect()

    def _open(self, ticket: bytes) -> None:
        if self._theirs is not None:
            raise WireError("a session has offered shared memory twice")
        try:
            self._theirs = OpenedArena(ticket)
        except OSError:
            return  # on another machine, or of another user
        self._put(Kind.SHARE, 0, b"")
        if self._own is None:
            self.offer()

    def _no_more_read(self, place: int) -> None:
        # Whichever thread lets go of the last array, and in the midst of whatever it does.
        with suppress(RuntimeError):  # the loop is closed: there is no session any more
            self._loop.call_soon_threadsafe(self._release, place)

    def _release(self, place: int) -> None:
        self._views -= 1
        if self._closed:
            return
        self._unread.append(place)
        if self._timer is None:
            self._timer = self._loop.call_later(_RELEASE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if body := self.released():
            self._put(Kind.RELEASE, 0, body)


def shared_memory(size: int, most: int) -> SharedMemory | None:
    """Return what lets a session share memory; None where there is none."""
    return SharedMemory(size, most) if size and AVAILABLE else None
