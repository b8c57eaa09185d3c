"""A shop: the plain services that the end-to-end tests call on real nodes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator import Internal, Labelled, Sensitive, cloud_service, edge_service

Numbers = NDArray[np.float32]

_closed: list[str] = []


@edge_service(overflow="cloud", idempotent=True)
def add(a: int, b: int) -> int:
    """A small thing that either tier does at once."""
    return a + b


@edge_service(overflow="cloud", idempotent=True)
def quote(item: str) -> int:
    """Slow at the edge, fast in the cloud."""
    time.sleep(0.25)
    return len(item)


@quote.on("cloud")
def quote_fast(item: str) -> int:
    return len(item)


@edge_service(overflow="cloud", idempotent=True)
def bake(seconds: float) -> int:
    """Takes its time anywhere, and says which process it was."""
    time.sleep(seconds)
    return os.getpid()


@cloud_service(fallback="edge", idempotent=True)
def forecast(seconds: float) -> int:
    """Prefers the cloud and may run twice."""
    time.sleep(seconds)
    return os.getpid()


@cloud_service(fallback="edge")
def charge(seconds: float) -> int:
    """Prefers the cloud and must not run twice."""
    time.sleep(seconds)
    return os.getpid()


@cloud_service(fallback="edge", idempotent=True)
async def think(seconds: float) -> int:
    """Holds no thread while it takes its time."""
    await asyncio.sleep(seconds)
    return os.getpid()


@cloud_service(fallback="edge", idempotent=True)
def weigh(text: Labelled[str]) -> Labelled[int]:
    """Takes any label, and so runs where the label may go."""
    return text.with_value(len(text.value))


@cloud_service
def archive(text: Labelled[str]) -> Labelled[int]:
    """Stays in the cloud."""
    return text.with_value(len(text.value))


@cloud_service
def note(text: Internal[str]) -> Internal[int]:
    """Stays in the cloud, and takes internal data."""
    return text.with_value(len(text.value))


@edge_service(declassifies=True)
def redact(text: Sensitive[str]) -> str:
    return "*" * len(text.value)


@edge_service(overflow="cloud")
async def stall(seconds: float) -> None:
    """Stops the node's event loop, as careless code does."""
    time.sleep(seconds)


@edge_service(overflow="cloud", idempotent=True)
def double(numbers: Numbers) -> Numbers:
    return numbers * 2


@edge_service(overflow="cloud", idempotent=True)
def grow(count: int) -> Numbers:
    """Gives more than it takes."""
    return np.zeros(count, np.float32)


@edge_service(overflow="cloud")
async def ticks(count: int, pause: float) -> AsyncIterator[int]:
    try:
        for number in range(count):
            await asyncio.sleep(pause)
            yield number
    finally:
        _closed.append("ticks")


@edge_service(overflow="cloud")
def steps(count: int, pause: float) -> Iterator[int]:
    try:
        for number in range(count):
            time.sleep(pause)
            yield number
    finally:
        _closed.append("steps")


@edge_service(overflow="cloud")
def closed() -> list[str]:
    """The streams that have ended on this node."""
    return list(_closed)


@edge_service(idempotent=True)
def fail(text: str) -> str:
    raise ValueError(f"cannot do {text}")


@edge_service(idempotent=True)
def lie(text: str) -> int:
    return text  # type: ignore[return-value]


@edge_service(idempotent=True)
def seal(text: Sensitive[str]) -> Sensitive[int]:
    raise LookupError(text.value)


@edge_service(idempotent=True)
async def echoes(text: str, count: int) -> AsyncIterator[str]:
    """Repeats a text, and then fails."""
    for _ in range(count):
        yield text
        await asyncio.sleep(0.01)
    raise ValueError(f"no more {text}")


@edge_service
def say(text: str) -> None:
    """Prints on purpose, as nobody should."""
    print(text, flush=True)


@dataclass(frozen=True)
class Parcel:
    """Checks itself with what only a node knows, and says too much when it refuses."""

    text: str

    def __post_init__(self) -> None:
        if "PARCELS" in os.environ:
            raise LookupError(f"no shelf for {self.text}")


@edge_service(idempotent=True)
def shelve(parcel: Parcel) -> int:
    return len(parcel.text)
