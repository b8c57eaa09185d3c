"""How many calls a node takes at once, and when the last one has left."""

import asyncio

from orchestrator.core.errors import EndpointUnavailable, Overloaded


class Admission:
    """Counts the calls in a node and refuses one too many.

    Args:
        limit: The most calls in the node, waiting ones included.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self, *, nested: bool = False) -> None:
        """Count a call; whoever enters must leave.

        Args:
            nested: Whether a call inside makes it: refused, it would fail that one.

        Raises:
            Overloaded: The node is full.
            EndpointUnavailable: The node takes no more calls.
        """
        if self._closed and not nested:
            raise EndpointUnavailable("the node is going away", shareable=True)
        if self.inside >= self.limit and not nested:
            raise Overloaded(f"the node has {self.inside} calls, its limit", shareable=True)
        self.inside += 1
        if self.inside == 1:
            self._empty.clear()

    def leave(self) -> None:
        """Count a call no more."""
        self.inside -= 1
        if not self.inside:
            self._empty.set()

    def close(self) -> None:
        """Take no more calls."""
        self._closed = True

    async def empty(self) -> None:
        """Wait until the last call has left."""
        await self._empty.wait()
