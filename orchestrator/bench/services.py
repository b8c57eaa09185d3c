"""The services that are measured: an echo, an array back and forth, a stream."""

from collections.abc import AsyncIterator

import numpy as np

from orchestrator.decorators import edge_service


@edge_service
async def echo(text: str) -> str:
    """Return the text."""
    return text


@edge_service
async def tensor(array: np.ndarray) -> np.ndarray:
    """Return the array."""
    return array


@edge_service
async def stream(count: int) -> AsyncIterator[str]:
    """Yield as many chunks as asked for, all ready at once."""
    for _ in range(count):
        yield "a" * 20
