"""What a process holds, as the kernel tells it, and how fast that grows."""

import itertools
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PRIVATE = ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds at one moment.

    Attributes:
        memory: Bytes that are its own alone (the unique set size).
        threads: Its threads.
        descriptors: Its open file descriptors.
        tasks: The tasks of its event loop.
    """

    memory: int
    threads: int
    descriptors: int
    tasks: int = 0


def held_by(process: int, tasks: int = 0) -> Held:
    """Return what a process of this machine holds."""
    folder = Path(f"/proc/{process}")
    status = (folder / "status").read_text().splitlines()
    threads = next(line for line in status if line.startswith("Threads:"))
    return Held(memory_of(process), int(threads.split()[1]), len(os.listdir(folder / "fd")), tasks)


def memory_of(process: int) -> int:
    """Return the bytes that are a process's own alone."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(_PRIVATE)) * 1024


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs of points (Theil 1950, Sen 1968).

    A single step, such as a heap that grew once, does not count as growth.
    """
    points = list(zip(xs, ys, strict=True))
    pairs = itertools.combinations(points, 2)
    return statistics.median((d - b) / (c - a) for (a, b), (c, d) in pairs if c != a)
