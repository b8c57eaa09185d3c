"""Parties: everything that answers calls, with a client that knows how to ask it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.bench.processes import Server
from orchestrator.bench.turns import CannotRunError, Figures, Way

Floats = NDArray[np.float32]
Ability = Literal["echo", "tensor", "stream", "embed"]


class Client(Protocol):
    """Asks one party; what a party cannot do is not asked of it."""

    async def echo(self, text: str) -> object:
        """Send a text and return what came back."""

    async def tensor(self, array: Floats) -> Floats:
        """Send an array and return what came back."""

    def stream(self, count: int) -> AsyncIterator[object]:
        """Yield so many chunks as they come; some may come together."""

    async def embed(self, text: str) -> Floats:
        """Return the vector of a text."""

    async def aclose(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Party:
    """Something that answers calls.

    Attributes:
        name: What tables call it.
        client: Asks it.
        can: What may be asked of it.
        server: Its process; None if it lives in this one.
        sleeps: Whether it is put to sleep while it is not its turn.
        address: Where it listens.
    """

    name: str
    client: Any
    can: frozenset[Ability]
    server: Server | None = None
    sleeps: bool = False
    address: str = ""

    def way(self, measure: Callable[[float], Awaitable[tuple[Figures, int]]]) -> Way:
        """Return it as one of the ways of a case."""
        return Way(
            self.name,
            measure,
            self.server.pid if self.server else None,
            self.server.awake if self.server and self.sleeps else nullcontext,
        )


Opening = Callable[[], AbstractAsyncContextManager[Party]]
"""Starts a party, and ends it at the end of the block."""


async def open_all(
    openings: Iterable[tuple[str, Opening]],
    stack: AsyncExitStack,
    say: Callable[[str], None],
) -> tuple[list[Party], dict[str, str]]:
    """Start parties one after the other; return those that run, and why the others do not."""
    parties: list[Party] = []
    absent: dict[str, str] = {}
    for name, opening in openings:
        say(f"starting {name}")
        try:
            party = await stack.enter_async_context(opening())
        except CannotRunError as error:
            absent[name] = str(error)
            continue
        if party.server and party.sleeps:
            party.server.sleep()
        parties.append(party)
    return parties, absent
