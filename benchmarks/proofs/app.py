"""The app of the proofs: a checksum by a real model, calls that never end, and a look inside."""

import asyncio
import gc
from collections.abc import AsyncIterator

import numpy as np

from orchestrator import TensorModel, edge_service

CHECKSUM = TensorModel("checksum")


@edge_service(models=[CHECKSUM])
async def checksum(rows: np.ndarray) -> np.ndarray:
    """Return one checksum for each row."""
    return (await CHECKSUM.aio({"rows": rows}))["sums"]


@edge_service
async def stall() -> None:
    """Wait until the call is given up."""
    await asyncio.Event().wait()


@edge_service
async def nap() -> None:
    """Wait for a moment."""
    await asyncio.sleep(0)


@edge_service
async def pour(count: int, size: int) -> AsyncIterator[bytes]:
    """Yield so many chunks of so many bytes, each at once."""
    for _ in range(count):
        yield b"x" * size  # zeros take no memory until somebody writes to them


@edge_service
async def large(size: int) -> bytes:
    """Return so many bytes."""
    return b"x" * size


@edge_service
async def tasks() -> int:
    """Return how many tasks there are on this loop, once all rubbish is collected."""
    gc.collect()
    return len(asyncio.all_tasks())
