"""Whether one run of many threads or many runs of one thread get more done on these cores."""

import os
import time
from collections.abc import Callable

from orchestrator.core.deadline import Clock
from orchestrator.serving.threads import DaemonThreads

_ROUNDS = 5
_SECONDS = 0.2

Work = Callable[[], object]


def usable_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side_is_faster(
    narrow: Work,
    wide: Work,
    cores: int,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> bool:
    """Say whether as many runs as there are cores end sooner side by side than in turn.

    Both ways are tried in turn, a few rounds, and the best of each counts: what else the machine
    does only ever adds time. It may still add to one way only, so runs in turn must need less
    CPU time as well: runs side by side leave no core idle, and cannot be slower without it.

    Args:
        narrow: One run with one thread.
        wide: The same run with a thread for each core.
        cores: How many there are.
        clock: Tells how long they take.
        cpu_clock: Tells the CPU time of this process.
    """
    threads = DaemonThreads("isthmus-probe")

    def side_by_side() -> None:
        for run in [threads.submit(narrow) for _ in range(cores)]:
            run.result()

    def in_turn() -> None:
        for _ in range(cores):
            wide()

    narrow()  # the first run of each takes longer than those that follow
    wide()
    end = clock() + _SECONDS
    took: dict[Work, list[float]] = {side_by_side: [], in_turn: []}
    used: dict[Work, list[float]] = {side_by_side: [], in_turn: []}
    for _ in range(_ROUNDS):
        for way in took:
            began, before = clock(), cpu_clock()
            way()
            took[way].append(clock() - began)
            used[way].append(cpu_clock() - before)
        if clock() >= end:
            break
    in_turn_wins = all(min(of[in_turn]) < min(of[side_by_side]) for of in (took, used))
    return not in_turn_wins
