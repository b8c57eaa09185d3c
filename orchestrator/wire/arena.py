"""Memory that two processes share: its owner writes bodies into it, the other end reads them.

It is a file without a name (memfd), so there is nothing to clean up: the kernel frees it when the
last process that has it open or mapped is gone, however it went. It is sealed against a change
of its size, so that nobody can cut it short under a reader.
"""

import mmap
import os
import stat
import struct
from bisect import bisect
from collections.abc import Callable, Sequence
from io import FileIO

import numpy as np

from orchestrator.core.errors import WireError
from orchestrator.core.model import Array
from orchestrator.wire.frames import Buffer

AVAILABLE = hasattr(os, "memfd_create")
"""Whether this system has such memory; Linux does."""

MOST_BYTES = 2**31
"""The largest memory of another process that is opened."""

_NAME = "isthmus"
_NONCE_BYTES = 16
_LINE = 64
"""Bodies begin at multiples of it: a line of the processor's cache."""

_KEPT_BYTES = 64 * 1024 * 1024
"""What an empty arena keeps of the pages it has once used."""

_TICKET = struct.Struct(f"<Q{_NONCE_BYTES}sII")


class _Spans:
    """What is free of a range of bytes: first fit, and neighbours grow together again."""

    def __init__(self, start: int, end: int) -> None:
        self._free = [(start, end)]
        self._whole = (start, end)
        self._taken: dict[int, int] = {}

    @property
    def empty(self) -> bool:
        return not self._taken

    def take(self, length: int) -> int | None:
        """Take so many bytes; return where they begin, or None if no free span is as long."""
        length += -length % _LINE
        for place, (start, end) in enumerate(self._free):
            if end - start >= length:
                self._free[place : place + 1] = (
                    [(start + length, end)] if end > start + length else []
                )
                self._taken[start] = start + length
                return start
        return None

    def give(self, start: int) -> None:
        """Give back what begins there; raise KeyError if nothing taken does."""
        end = self._taken.pop(start)
        place = bisect(self._free, (start, end))
        if place < len(self._free) and self._free[place][0] == end:
            end = self._free.pop(place)[1]
        if place and self._free[place - 1][1] == start:
            place -= 1
            start = self._free.pop(place)[0]
        self._free.insert(place, (start, end))


class Arena:
    """The owner's side: bodies are written into it, and freed when the other end has read them.

    Pages are taken from the kernel when they are first written to.

    Args:
        size: How many bytes it has.
        random: Gives so many random bytes, by which the other end knows it.

    Raises:
        OSError: The system gives none.
    """

    def __init__(self, size: int, random: Callable[[int], bytes] = os.urandom) -> None:
        self._size = size - size % mmap.PAGESIZE
        self._spans = _Spans(_LINE, self._size)
        self._high = 0
        number = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._file = FileIO(number)  # which closes it with the arena, whatever happens
        os.fchmod(number, 0o600)
        os.ftruncate(number, self._size)
        self._memory = mmap.mmap(number, self._size)
        nonce = random(_NONCE_BYTES)
        self._memory[:_NONCE_BYTES] = nonce
        _seal(number)
        self.ticket = _TICKET.pack(self._size, nonce, os.getpid(), number)
        """What another process of this user and machine needs to open it."""

    def write(self, pieces: Sequence[Buffer], skip: int = 0) -> int | None:
        """Write the pieces of a body one after the other.

        Args:
            pieces: The pieces.
            skip: Bytes of them after which an address begins that is a multiple of 64.

        Returns:
            Where they begin; None if there is no room.
        """
        ahead = -skip % _LINE
        start = self._spans.take(ahead + sum(map(len, pieces)))
        if start is None:
            return None
        place = start + ahead
        for piece in pieces:
            end = place + len(piece)
            self._memory[place:end] = piece
            place = end
        self._high = max(self._high, place)
        return start + ahead

    def free(self, place: int) -> None:
        """Give back what `write` has put there.

        Raises:
            WireError: It has put nothing there.
        """
        try:
            self._spans.give(place - place % _LINE)
        except KeyError:
            raise WireError("memory was given back that was not in use") from None
        if self._high > _KEPT_BYTES and self._spans.empty:
            self._memory.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, self._size - _KEPT_BYTES)
            self._high = _KEPT_BYTES

    def opened(self) -> None:
        """Note that the other end has it, so that nobody else can open it."""
        self._file.close()

    def close(self) -> None:
        """Give it up; what the other end still reads stays until it has."""
        self.opened()
        self._memory.close()


class OpenedArena:
    """The other side: what is in it is read in place.

    Args:
        ticket: The owner's ticket.

    Raises:
        OSError: It cannot be opened, as from another machine or by another user.
        WireError: The ticket is none, or what it names is not such memory.
    """

    def __init__(self, ticket: bytes) -> None:
        if len(ticket) != _TICKET.size:
            raise WireError("a ticket for shared memory has another length")
        self._size, nonce, process, number = _TICKET.unpack(ticket)
        path = f"/proc/{process}/fd/{number}"
        # Looked at first: opening a file of another kind could do something.
        if not os.readlink(path).startswith(f"/memfd:{_NAME}"):
            raise FileNotFoundError(path)
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if not 0 < self._size <= MOST_BYTES or not _is_sealed(file, self._size):
                raise WireError("shared memory is not as it should be")
            self._memory = mmap.mmap(file, self._size, prot=mmap.PROT_READ)
        finally:
            os.close(file)
        if self._memory[:_NONCE_BYTES] != nonce:
            raise FileNotFoundError(path)  # that of somebody else, by chance under the same number

    def view(self, place: int, length: int) -> Array:
        """Return bytes of it as a read-only array of uint8; the memory stays while it lives.

        Raises:
            WireError: They are not inside.
        """
        if place < _LINE or length < 1 or place + length > self._size:
            raise WireError("a body lies outside of the shared memory")
        return np.frombuffer(self._memory, np.uint8, length, place)


def _seal(file: int) -> None:
    import fcntl  # not everywhere, and where it is not there are no arenas

    fcntl.fcntl(
        file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    )


def _is_sealed(file: int, size: int) -> bool:
    import fcntl

    found = os.fstat(file)
    seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
    return (
        stat.S_ISREG(found.st_mode) and found.st_size == size and bool(seals & fcntl.F_SEAL_SHRINK)
    )
