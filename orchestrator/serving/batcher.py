"""The batcher under one model: rows of all callers, in one run as soon as the model is idle."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Processor, Row, Stop, Stopped
from orchestrator.core.running import Meter
from orchestrator.serving.threads import DaemonThreads

Run = Callable[[Batch, Stop], Batch]
"""Computes one batch, in a worker thread."""


@dataclass(slots=True, eq=False)
class _Caller:
    """One caller's rows and the answers so far."""

    rows: Sequence[Row]
    keys: Sequence[Hashable]
    future: asyncio.Future[list[Row]]
    meter: Meter
    since: float
    answers: dict[int, Row] = field(default_factory=dict)

    @property
    def left(self) -> bool:
        return self.future.done()

    def answer(self, index: int, row: Row) -> None:
        self.answers[index] = row
        if len(self.answers) == len(self.rows) and not self.left:
            self.future.set_result([self.answers[place] for place in range(len(self.rows))])

    def fail(self, error: BaseException) -> None:
        if not self.left:
            self.future.set_exception(error)


_Entry = tuple[_Caller, int]
"""One row in the queue: whose it is, and which of theirs."""


class Batcher:
    """Runs the rows of many callers together.

    It never waits for more: an idle model takes what is there. Callers who left are dropped
    before a batch is built, and a run whose last caller has left is stopped.

    Args:
        name: The model's name, for errors.
        run: Computes a batch.
        processor: Joins rows and takes batches apart.
        max_batch_size: The most rows in one run.
        clock: Tells how long rows waited.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        processor: Processor,
        max_batch_size: int = 8,
        clock: Clock = time.monotonic,
    ) -> None:
        self._name = name
        self._run = run
        self._processor = processor
        self._max_batch_size = max_batch_size
        self._clock = clock
        self._queue: deque[_Entry] = deque()
        self._current: tuple[list[_Entry], Stop] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._threads = DaemonThreads(f"isthmus-{name}")
        self._closed = False
        self.batches = 0
        self.rows = 0

    @property
    def waiting(self) -> int:
        """Rows that wait for a run."""
        return len(self._queue)

    async def submit(self, rows: Sequence[Row], meter: Meter) -> list[Row]:
        """Return the answers to rows, in order; leaving early gives their places up.

        Raises:
            ModelUnavailable: The model gave another number of answers than it got rows, or is
                being unloaded.
        """
        if self._closed:
            raise self._unloaded()
        if not rows:
            return []
        keys = [self._processor.key(row) for row in rows]
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        caller = _Caller(rows, keys, future, meter, self._clock())
        self._queue.extend((caller, index) for index in range(len(rows)))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            return await future
        except asyncio.CancelledError:
            self._stop_if_deserted()
            raise

    async def aclose(self) -> None:
        """Give up what waits and what runs."""
        self._closed = True
        batch, stop = self._current or ([], Stop())
        for caller, _ in [*self._queue, *batch]:
            caller.fail(self._unloaded())
        self._queue.clear()
        stop.request()
        if self._worker:
            await self._worker

    async def _work(self) -> None:
        while batch := self._next_batch():
            try:
                await self._run_batch(batch)
            except Exception as error:
                await self._run_apart(batch, error)
        self._worker = None

    def _next_batch(self) -> list[_Entry]:
        """Take the oldest row and those after it that may share its batch."""
        taken: list[_Entry] = []
        passed: list[_Entry] = []
        while self._queue and len(taken) < self._max_batch_size:
            entry = caller, index = self._queue.popleft()
            if caller.left:
                continue
            first, place = taken[0] if taken else entry
            fits = caller.keys[index] == first.keys[place]
            (taken if fits else passed).append(entry)
        self._queue.extendleft(reversed(passed))
        return taken

    async def _run_batch(self, batch: list[_Entry]) -> None:
        stop, started = Stop(), self._clock()
        self._current = batch, stop
        try:
            rows = [caller.rows[index] for caller, index in batch]
            answers = await asyncio.wrap_future(self._threads.submit(self._compute, rows, stop))
        finally:
            self._current = None
        self.batches += 1
        self.rows += len(batch)
        self._charge(batch, started)
        for (caller, index), answer in zip(batch, answers, strict=True):
            caller.answer(index, answer)

    def _compute(self, rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        try:
            outputs = self._run(self._processor.collate(rows), stop)
        except (SystemExit, KeyboardInterrupt) as error:  # meant for the model, not for the node
            kind = type(error).__name__
            raise RuntimeError(f"model {self._name!r} raised {kind}") from error
        if any(len(array) != len(rows) for array in outputs.values()):
            counts = ", ".join(f"{len(array)} of {name}" for name, array in outputs.items())
            raise ModelUnavailable(
                f"model {self._name!r} got {len(rows)} rows and answered {counts}", shareable=True
            )
        return self._processor.split(outputs, len(rows))

    async def _run_apart(self, batch: list[_Entry], error: Exception) -> None:
        """Run each caller's rows by themselves, so that only the one at fault fails."""
        callers = list(dict.fromkeys(caller for caller, _ in batch))
        if len(callers) == 1 or isinstance(error, Stopped):
            for caller in callers:
                caller.fail(error)
            return
        for caller in callers:
            own = [entry for entry in batch if entry[0] is caller]
            try:
                if not caller.left:
                    await self._run_batch(own)
            except Exception as own_error:
                caller.fail(own_error)

    def _charge(self, batch: list[_Entry], started: float) -> None:
        """Write down who waited, and who paid for whose rows."""
        ended = self._clock()
        for caller in dict.fromkeys(caller for caller, _ in batch):
            own = sum(1 for other, _ in batch if other is caller)
            caller.meter.queue_ms += (started - caller.since) * 1e3
            caller.meter.shared_ms += (ended - started) * 1e3 * (1 - own / len(batch))
            caller.since = ended

    def _unloaded(self) -> ModelUnavailable:
        return ModelUnavailable(f"model {self._name!r} is being unloaded", shareable=True)

    def _stop_if_deserted(self) -> None:
        if self._current and all(caller.left for caller, _ in self._current[0]):
            self._current[1].request()
