"""The batcher under one model: rows of all callers, in one run as soon as the model is idle."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from orchestrator.core.deadline import Clock, Deadline
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Row, Stopped
from orchestrator.core.running import Meter
from orchestrator.serving.batching.costs import CostTable
from orchestrator.serving.batching.forward import Forward
from orchestrator.serving.batching.grouping import Limits, group
from orchestrator.serving.batching.waiting import Caller, Entry, Waiting
from orchestrator.serving.batching.workers import Outcome, Run, Workers

_TRY_LARGER = 32
"""One of so many batches takes half as many rows again: what once seemed dear is tried again."""

_LOOK_AT = 4
"""A batch looks at so many times the rows it may take: those that would be late are passed over."""

_AHEAD = 16
"""The next batch is put together ahead of time only from so many rows or more."""

_PLENTY = 4
"""And only if it is full or leaves so many times its rows behind: more would not change it."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How rows are put together.

    Attributes:
        max_batch_size: The most rows in one run.
        max_delay_ms: How long an idle model may wait for more rows than there are.
        shape_aware: Whether rows of like length run together as far as that is cheaper; if not,
            they run in the order they came.
        memory_aware: Whether batches stay below what once did not fit into memory.
    """

    max_batch_size: int = 32
    max_delay_ms: float = 0.0
    shape_aware: bool = True
    memory_aware: bool = True


class Batcher:
    """Runs the rows of many callers together.

    It is work-conserving: an idle model takes what is there, unless it was told to wait. The
    oldest row is in the next batch whatever it costs, so that none waits for ever; which rows
    join it says `group`. Callers who left are dropped before a batch is built, and a run whose
    last caller has left is stopped.

    Args:
        forward: Computes rows, in a worker thread.
        options: How rows are put together.
        costs: What runs cost, learned further from every run; without it batches are filled.
        parallel: How many runs may overlap.
        clock: Tells how long rows waited and runs took.
    """

    def __init__(
        self,
        forward: Forward,
        options: BatchOptions | None = None,
        costs: CostTable | None = None,
        parallel: int = 1,
        clock: Clock = time.monotonic,
    ) -> None:
        self._forward = forward
        self._options = options or BatchOptions()
        self._costs = costs
        self._clock = clock
        self._waiting = Waiting()
        self._again: deque[list[Entry]] = deque()  # parts of failed batches, to run as they are
        self._runs: set[Run] = set()
        self._workers = Workers(forward, parallel, self._end, clock)
        self._room = float("inf")
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._ended = asyncio.Event()
        self.batches = 0
        self.rows = 0

    @property
    def waiting(self) -> int:
        """Rows that wait for a run."""
        again = tuple(self._again)  # metrics are read from another thread
        return len(self._waiting) + sum(map(len, again))

    async def submit(
        self, rows: Sequence[Row], meter: Meter, deadline: Deadline | None = None
    ) -> list[Row]:
        """Return the answers to rows, in order; leaving early gives their places up.

        Args:
            rows: What to compute.
            meter: Is told how long they waited, and for whom.
            deadline: When the answers are due; no other rows join them that would make them late.

        Raises:
            ModelUnavailable: The model gave another number of answers than it got rows, has no
                memory for one row, or is being unloaded.
        """
        if self._closed:
            raise self._unloaded()
        if not rows:
            return []
        processor, loop = self._forward.processor, asyncio.get_running_loop()
        kinds = [(processor.key(row), max(int(processor.length(row)), 1)) for row in rows]
        caller = Caller(loop.create_future(), meter, self._clock(), len(rows))
        entries = [
            Entry(caller, index, row, key, length, deadline)
            for index, (row, (key, length)) in enumerate(zip(rows, kinds, strict=True))
        ]
        for entry in entries:
            self._waiting.add(entry)
        if not self._asked:  # what comes in the same turn of the loop shares a batch
            self._asked = True
            loop.call_soon(self._dispatch)
        try:
            return await caller.future
        finally:
            if caller.missing:  # it left, or failed
                for entry in entries:
                    self._waiting.discard(entry)
                self._stop_deserted()

    async def aclose(self) -> None:
        """Give up what waits and what runs."""
        self._closed = True
        running = [run.batch for run in self._runs]
        for entry in [*self._waiting, *_flat(self._again), *_flat(running)]:
            entry.caller.fail(self._unloaded())
        self._waiting = Waiting()
        self._again.clear()
        if self._timer:
            self._timer.cancel()
        for run in self._runs:
            run.stop.request()
        if self._runs:
            await self._ended.wait()

    def _dispatch(self) -> None:
        """Start runs while the model is idle and rows are there."""
        self._asked = False
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._workers.idle and (batch := self._next_batch()):
            self._workers.start(self._run_of(batch))
        if self._workers.wants_more and (batch := self._batch_ahead()):
            self._workers.lay_out(self._run_of(batch))

    def _run_of(self, batch: list[Entry]) -> Run:
        for entry in batch:
            self._waiting.discard(entry)
        run = Run(batch)
        self._runs.add(run)
        return run

    def _next_batch(self) -> list[Entry]:
        while self._again:
            if batch := [entry for entry in self._again.popleft() if not entry.caller.left]:
                return batch
        first = self._waiting.oldest()
        if first is None or self._waits_for_mates(first):
            return []
        return self._mates_of(first)

    def _batch_ahead(self) -> list[Entry]:
        """Return the next batch if it is settled by now, whatever else may come."""
        if self._again:
            return self._next_batch()
        if len(self._waiting) < _AHEAD:
            return []
        batch = self._next_batch()
        full = len(batch) == self._options.max_batch_size
        return batch if full or len(batch) * _PLENTY <= len(self._waiting) else []

    def _mates_of(self, first: Entry) -> list[Entry]:
        """Return the batch around a row, which leaves their share to other idle workers."""
        share = -(-len(self._waiting) // max(self._workers.idle, 1))
        rows = min(self._options.max_batch_size, share)
        limits = Limits(rows, self._room)
        if not self._options.shape_aware:
            return group(first, self._waiting.after(first), limits, None)
        near = islice(self._waiting.near(first), _LOOK_AT * rows)
        stretch = 1.5 if self.batches % _TRY_LARGER == _TRY_LARGER - 1 else 1.0
        return group(first, near, limits, self._costs, stretch)

    def _waits_for_mates(self, first: Entry) -> bool:
        """Say whether the model shall wait for more rows, and see that it does not for ever."""
        seconds = self._options.max_delay_ms / 1e3
        if not seconds or len(self._waiting) >= self._options.max_batch_size:
            return False
        left = first.caller.came + seconds - self._clock()
        for entry in self._waiting:
            if entry.deadline and self._costs:
                left = min(left, entry.deadline.left() - self._costs.cost(1, entry.length))
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._dispatch)
        return left > 0

    def _end(self, run: Run, outcome: Outcome) -> None:
        """Hand the answers out, or try parts of the batch again, and start the next run."""
        self._runs.discard(run)
        self._charge(run)
        if not isinstance(outcome, BaseException):
            self._answer(run, outcome)
        elif parts := self._parts(run, outcome):
            self._again.extend(parts)
        else:
            for caller in run.callers:
                caller.fail(self._out_of_memory(run) if _is_memory(outcome) else outcome)
        if self._closed and not self._runs:
            self._ended.set()
        self._dispatch()

    def _answer(self, run: Run, answers: Sequence[Row]) -> None:
        if not run.batch:  # all had left before it began
            return
        self.batches += 1
        self.rows += len(run.batch)
        if self._costs:
            self._costs.learn(len(run.batch), run.length, run.seconds)
        for entry, answer in zip(run.batch, answers, strict=True):
            entry.caller.answer(entry.index, answer)

    def _parts(self, run: Run, error: BaseException) -> list[list[Entry]]:
        """Return the parts of a failed batch that may do better, if there are any."""
        if _is_memory(error):
            rows = len(run.batch)
            if self._options.memory_aware:
                self._room = min(self._room, max(rows // 2, 1) * run.length)
            ordered = sorted(run.batch, key=lambda entry: entry.length)
            return [ordered[: rows // 2], ordered[rows // 2 :]] if rows > 1 else []
        if isinstance(error, Stopped) or len(run.callers) == 1:
            return []
        # Each caller by itself, so that only the one at fault fails.
        return [[entry for entry in run.batch if entry.caller is own] for own in run.callers]

    def _charge(self, run: Run) -> None:
        """Write down who waited, and who paid for whose rows."""
        now = self._clock()
        for caller in run.callers:
            own = sum(1 for entry in run.batch if entry.caller is caller)
            caller.meter.queue_ms += max(run.since - caller.idle_since, 0.0) * 1e3
            caller.meter.shared_ms += (now - run.since) * 1e3 * (1 - own / len(run.batch))
            caller.idle_since = now

    def _stop_deserted(self) -> None:
        for run in self._runs:
            if all(entry.caller.left for entry in run.batch):
                run.stop.request()

    def _unloaded(self) -> ModelUnavailable:
        return ModelUnavailable(f"model {self._forward.name!r} is being unloaded", shareable=True)

    def _out_of_memory(self, run: Run) -> ModelUnavailable:
        return ModelUnavailable(
            f"model {self._forward.name!r} has no memory for one row of length {run.length}",
            shareable=True,
        )


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError)


def _flat(batches: Iterable[list[Entry]]) -> list[Entry]:
    return [entry for batch in batches for entry in batch]
