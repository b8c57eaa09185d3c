"""What a fuzzed target may never do, looked at after every input: crash, or take memory."""

import gc
import random
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress

from benchmarks.proofs.mutations import mutated
from benchmarks.proofs.planted import Crashing, Keeping, Sound, Trusting
from benchmarks.proofs.targets import (
    MOST_BYTES,
    BodiesTarget,
    CallerTarget,
    FramesTarget,
    MessagesTarget,
    NodeTarget,
    Target,
    Wrong,
)
from orchestrator.core.errors import CallError

TARGETS: dict[str, Callable[[], Target]] = {
    "messages": MessagesTarget,
    "frames": FramesTarget,
    "bodies": BodiesTarget,
    "caller": CallerTarget,
    "node": NodeTarget,
}
PLANTED: dict[str, Callable[[], Target]] = {
    "planted nothing": lambda: FramesTarget(lambda: Sound().whole, bytes),
    "planted crash": lambda: FramesTarget(lambda: Crashing().whole, bytes),
    "planted allocation": lambda: FramesTarget(lambda: Trusting().whole, bytes),
    "planted leak": lambda: FramesTarget(lambda: Keeping(MOST_BYTES).whole),
}

_FREE_BYTES = 512 * 1024
"""What a session may take for itself whatever its input: tasks, queues, caches that fill."""

_BYTES_A_BYTE = 100
"""What a byte of input may take: `[[[[` becomes a list for each."""

_GROWTH_BYTES = 10
_NODE_GROWTH_BYTES = 64
"""What an input may leave behind, on average; at a node each far deadline leaves a slot."""

_CACHES_BYTES = 128 * 1024
"""What all inputs together may leave behind beside: caches that fill late."""

_A_LOOK = 1000


class Judge:
    """Gives inputs to a target and raises where it does what it never may.

    Args:
        target: What takes the inputs.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._runs = 0
        self._held = 0
        self.most = 0

    def __call__(self, data: bytes) -> None:
        """Give it one input.

        Raises:
            Wrong: It took too much memory, or has kept too much of all inputs together.
        """
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with suppress(CallError):  # the answer to bytes that make no sense
            self._target(data)
        _, peak = tracemalloc.get_traced_memory()
        self.most = max(self.most, peak - before)
        if peak - before > _FREE_BYTES + _BYTES_A_BYTE * len(data):
            raise Wrong(f"{peak - before:,} bytes taken for an input of {len(data)}")
        self._runs += 1
        if self._runs % _A_LOOK == 0:
            self.check_growth()

    def check_growth(self) -> None:
        """Raise Wrong if inputs leave memory behind; the first ones may, since caches fill."""
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        if self._runs <= _A_LOOK:
            self._held = held
            return
        growth = (held - self._held - _CACHES_BYTES) / (self._runs - _A_LOOK)
        if growth > (_NODE_GROWTH_BYTES if isinstance(self._target, NodeTarget) else _GROWTH_BYTES):
            raise Wrong(f"{growth:.0f} bytes an input are left behind")


def replay(new: Callable[[], Target], inputs: Sequence[bytes], runs: int, seed: int) -> int:
    """Give a target all inputs, and then changed ones; return the most bytes that one took.

    Args:
        new: Makes the target.
        inputs: What was found or made by hand, beside the target's own.
        runs: How many inputs are made by changing those.
        seed: Of the changes.
    """
    target, source = new(), random.Random(seed)
    try:
        judge, known = Judge(target), [*target.seeds(), *inputs]
        for data in known:
            judge(data)
        for _ in range(runs):
            judge(mutated(known, source))
        judge.check_growth()
        return judge.most
    finally:
        target.close()
        tracemalloc.stop()
