"""Whose CPU time it was: of this process, of a server and its children, of everybody else."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def family(pids: Iterable[int]) -> frozenset[int]:
    """Return processes and all that descend from them."""
    children: dict[int, list[int]] = defaultdict(list)
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        children[int(fields[1])].append(int(path.parent.name))
    found, waiting = set[int](), list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting.extend(children[pid])
    return frozenset(found)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process; 0 if it has ended.

    The number of its clock is made as glibc's `clock_getcpuclockid` makes it: nanoseconds, where
    `/proc` counts in hundredths of a second.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def private_mb(pids: Iterable[int]) -> float:
    """Return the memory that processes share with nobody: what ending them would free."""
    return sum(map(_private_kb, pids)) * 1024 / 1e6


def _private_kb(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used so far.

    Attributes:
        at: When this was.
        own: By this process, and by those it has started that have ended.
        servers: By the processes that answer it.
        everyone: By all on the machine.
    """

    at: float
    own: float
    servers: float
    everyone: float

    @classmethod
    def now(cls, servers: Iterable[int] = ()) -> "Usage":
        """Read the clocks."""
        line = (_PROC / "stat").read_text().splitlines()[0]
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, line.split()[1:])
        ended = os.times()
        everyone = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return cls(
            at=time.perf_counter(),
            own=time.process_time() + ended.children_user + ended.children_system,
            servers=sum(map(cpu_seconds, servers)),
            everyone=everyone,
        )

    def until(self, later: "Usage") -> "Usage":
        """Return what was used from here to there."""
        return Usage(
            later.at - self.at,
            later.own - self.own,
            later.servers - self.servers,
            later.everyone - self.everyone,
        )

    @property
    def foreign(self) -> float:
        """The part of the machine that others used, for a difference: 0 to 1."""
        others = max(self.everyone - self.own - self.servers, 0.0)
        return others / self.at / usable_cores() if self.at else 0.0
