"""The app of the proofs with faults planted: what every proof must find, or proves nothing.

Its model gives batch mates each other's answers, and each call leaves something behind.
"""

import asyncio
import os
from collections.abc import Sequence

import numpy as np

from benchmarks.proofs.app import stall, tasks
from orchestrator import TensorModel, edge_service
from orchestrator.core.model import Batch, ModelFolder, Row
from orchestrator.models.tensor import TensorProcessor

__all__ = ["checksum", "stall", "tasks"]

LEAK_BYTES = 1000
"""What each call leaves behind."""

RARELY = 10
"""One of so many calls leaves a task and a descriptor behind."""

_left: list[object] = []


class _Swapping(TensorProcessor):
    """Gives the rows of a batch in the wrong order, once the node has made its own checks."""

    armed = False

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        """Return the rows of the outputs, turned by one."""
        rows = list(super().split(batch, count))
        return rows[1:] + rows[:1] if self.armed else rows


class _SwappingModel(TensorModel):
    def processor(self, folder: ModelFolder) -> TensorProcessor:
        """Return what takes batches apart wrongly."""
        return _Swapping(folder)


_checksum = _SwappingModel("checksum")


@edge_service(models=[_checksum])
async def checksum(rows: np.ndarray) -> np.ndarray:
    """Return somebody else's checksums, and leave something behind."""
    _Swapping.armed = True
    leave_behind(_left)
    return (await _checksum.aio({"rows": rows}))["sums"]


def leave_behind(left: list[object]) -> None:
    """Leave memory behind, and now and then a task and a descriptor."""
    left.append(bytearray(LEAK_BYTES))
    if len(left) % RARELY == 0:
        left.append(os.open(os.devnull, os.O_RDONLY))
        left.append(asyncio.create_task(asyncio.Event().wait()))
