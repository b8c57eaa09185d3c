"""Large bodies at the receiver: put together from their parts, or found in shared memory."""

from collections.abc import Iterator
from typing import Protocol

from orchestrator.core.errors import WireError
from orchestrator.wire.frames import (
    BESIDE_BYTES,
    MESSAGE_BYTES,
    Frame,
    Kind,
    SplitBody,
    decode_message,
)

_PART, _SHARE, _SHARED, _RELEASE = Kind.PART, Kind.SHARE, Kind.SHARED, Kind.RELEASE

_MOST_BODIES = 1024

_OF_ITS_OWN_BYTES = 4096
"""Shorter parts are gathered: each alone would take more memory than its bytes."""


class Budget:
    """Bytes that the bodies under way in several sessions may have together.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, count: int) -> None:
        """Take some; raise WireError if there are too few left."""
        if count > self._left:
            raise WireError("too many large bodies are under way in all sessions together")
        self._left -= count

    def give_back(self, count: int) -> None:
        """Give some back."""
        self._left += count


class Memory(Protocol):
    """What takes the frames that speak of shared memory."""

    def hear(self, kind: Kind, body: bytes) -> None:
        """Take a SHARE or a RELEASE frame."""

    def read(self, body: bytes) -> tuple[Kind, SplitBody | None]:
        """Return kind and body of the frame that a SHARED frame stands for."""


class Assembler:
    """Puts bodies together that came in parts, several of them side by side.

    Args:
        most: The most bytes of one body.
        memory: What this end shares with the other; None if nothing.
        budget: What its bodies under way share with those of other sessions; None if nothing.
    """

    def __init__(
        self, most: int, memory: Memory | None = None, budget: Budget | None = None
    ) -> None:
        self._most = most
        self._memory = memory
        self._budget = budget or Budget(most + BESIDE_BYTES)
        self._parts: dict[int, list[bytes | bytearray]] = {}
        self._sizes: dict[int, int] = {}
        self._kept = 0

    def whole(self, message: bytes) -> Iterator[Frame]:
        """Yield the frames of a message, parts kept back until their body is complete.

        Raises:
            WireError: The bytes are no frames, or too many.
        """
        if len(message) > MESSAGE_BYTES:
            raise WireError("a session's message is too long")
        for kind, number, body in decode_message(message):
            if kind is _PART:
                if body:
                    self._keep(number, body)
                else:
                    self._take(number)  # its sender gave it up
            elif kind is _SHARED:
                if self._memory is None or number in self._sizes:
                    raise WireError("a SHARED frame where none may be")
                stands_for, split = self._memory.read(body)
                yield stands_for, number, split
                split = None  # nothing here may keep the shared memory in use
            elif kind is _SHARE or kind is _RELEASE:
                if self._memory is not None:
                    self._memory.hear(kind, body)
            elif not self._sizes or number not in self._sizes:
                yield kind, number, body
            elif kind is Kind.CANCEL:
                self._take(number)
                yield kind, number, body
            else:
                self._keep(number, body)
                yield kind, number, self._take(number)

    def _keep(self, number: int, part: bytes) -> None:
        size = self._sizes[number] = self._sizes.get(number, 0) + len(part)
        parts = self._parts.setdefault(number, [])
        if size > self._most:  # what is too large is counted, and not kept
            self._give_back(sum(map(len, parts)))
            parts.clear()
        else:
            self._budget.take(len(part))
            self._kept += len(part)
            if len(part) >= _OF_ITS_OWN_BYTES:
                parts.append(part)
            elif parts and isinstance(parts[-1], bytearray):
                parts[-1] += part
            else:
                parts.append(bytearray(part))
        if self._kept > self._most + BESIDE_BYTES or len(self._sizes) > _MOST_BODIES:
            raise WireError("a session has too many large bodies under way")

    def _take(self, number: int) -> bytes | None:
        parts, size = self._parts.pop(number, []), self._sizes.pop(number, 0)
        self._give_back(sum(map(len, parts)))
        return b"".join(parts) if size <= self._most else None

    def close(self) -> None:
        """Forget the bodies that are under way."""
        self._parts.clear()
        self._sizes.clear()
        self._give_back(self._kept)

    def _give_back(self, count: int) -> None:
        self._kept -= count
        self._budget.give_back(count)
