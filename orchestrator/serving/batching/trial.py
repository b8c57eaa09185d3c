"""Which of the ways to run a model gets the most done on this machine, and may be taken."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.core.deadline import Clock
from orchestrator.core.model import Processor, Row, Runtime, Stop, Way
from orchestrator.models.parity import relative_error
from orchestrator.serving.batching.forward import Forward
from orchestrator.serving.batching.probes import mates_matter
from orchestrator.serving.threads import DaemonThreads

_log = logging.getLogger("isthmus.node")

_LENGTHS = 2  # the shortest of the model's own: longer rows would take seconds to compare
_TOGETHER = 4  # rows of each length
_POSITIONS = 64  # of them at most, so that a job is short and some of its runs are undisturbed
_LEAST_ROUNDS, _ROUNDS = 3, 8
_SECONDS = 0.2
_CHEAPER = 0.98  # a way replaces another only if it takes so much of the time, or less

Job = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A way to run a model.

    Attributes:
        way: What it is.
        forward: Runs it.
        batched: Whether callers may share its runs.
    """

    way: Way
    forward: Forward
    batched: bool


@dataclass(frozen=True, slots=True)
class _Took:
    """Seconds by the clock and of all processors."""

    seconds: float
    cpu: float


class Trial:
    """Tries out the ways to run one model.

    Args:
        runtime: What runs it.
        name: The model.
        processor: Its preparation.
        most: The most rows in one run.
        clock: Tells how long runs take.
        cpu_clock: Tells the CPU time of this process.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        processor: Processor,
        most: int,
        clock: Clock = time.perf_counter,
        cpu_clock: Clock = time.process_time,
    ) -> None:
        self._runtime = runtime
        self._name = name
        self._processor = processor
        self._most = most
        self._clocks = clock, cpu_clock
        self._batched: dict[str, bool] = {}

    def best(self, ways: Sequence[Way]) -> Found:
        """Return the way that gets the most done, of those that answer as the first does.

        Each is held against the best so far on the same rows, in batches if callers may share
        its runs, else a row in each run: what serving it so costs is part of the comparison. A
        graph whose answers differ from the first's by more than its tolerance is never taken.

        Args:
            ways: The ways, the first is the reference.
        """
        best = self.found(ways[0])
        if len(ways) == 1:
            return best
        try:
            rows = self._rows(_LENGTHS)
            expected = _alone(best.forward, rows)
        except Exception as error:
            kind = type(error).__name__
            _log.warning("model %s refuses made-up rows (%s): %s", self._name, kind, best.way)
            return best
        agreed, lost = {best.way.graph: True}, set[tuple[str, int, int]]()
        for way in ways[1:]:
            if way.graph not in agreed:
                agreed[way.graph] = self._agrees(way, rows, expected)
            if not agreed[way.graph] or _layout(way) in lost:
                continue
            other = self.found(way)
            worse, better = (best, other) if self._is_cheaper(other, best) else (other, best)
            if worse.way.graph == better.way.graph:  # as it does for its file, fused or not
                lost.add(_layout(worse.way))
            best = better
            self._runtime.use(self._name, best.way)  # and close the other, to free its memory
        return best

    def found(self, way: Way) -> Found:
        """Open a way, and find out whether callers may share its runs."""
        forward = Forward(self._name, self._runtime.open(self._name, way), self._processor)
        if way.graph not in self._batched:
            self._batched[way.graph] = self._most > 1 and not mates_matter(forward)
        return Found(way, forward, self._batched[way.graph])

    def _rows(self, count: int) -> list[Row]:
        lengths = self._processor.lengths()[:_LENGTHS]
        return [row for length in lengths for row in self._processor.probe(count, length)]

    def _agrees(self, way: Way, rows: Sequence[Row], expected: Sequence[Row]) -> bool:
        try:
            forward = Forward(self._name, self._runtime.open(self._name, way), self._processor)
            error = relative_error(_alone(forward, rows), expected)
        except Exception as problem:
            kind = type(problem).__name__
            _log.warning("model %s: %s does not run (%s)", self._name, way.graph, kind)
            return False
        if not error <= way.tolerance:
            _log.warning(
                "model %s: answers of %s differ by %.3g of their norm, more than %g: not taken",
                *(self._name, way.graph, error, way.tolerance),
            )
        return error <= way.tolerance

    def _is_cheaper(self, other: Found, best: Found) -> bool:
        """Say whether one way needs less of the processors' time, and less time, than another.

        What else the machine does may add to the time of one of them only, so both times must
        say the same; the processors' says all if both ways use the cores alike.
        """
        copies = max(other.way.runs, best.way.runs)
        contest = [self._jobs(found, copies) for found in (other, best)]
        mine, theirs = self._measured(contest)
        alike = (other.way.runs, other.way.threads) == (best.way.runs, best.way.threads)
        is_sooner = mine.seconds < _CHEAPER * theirs.seconds
        return mine.cpu < _CHEAPER * theirs.cpu and (alike or is_sooner)

    def _measured(self, contest: Sequence[Sequence[Job]]) -> list[_Took]:
        """Return what each list of jobs takes: they take turns, and the best of each job counts.

        Whatever holds a job up only ever adds to it.
        """
        clock, cpu_clock = self._clocks
        took: dict[Job, list[tuple[float, float]]] = {}
        end = clock() + _SECONDS
        for done in range(1, _ROUNDS + 1):
            for job in (job for pair in zip(*contest, strict=True) for job in pair):
                began, before = clock(), cpu_clock()
                job()
                took.setdefault(job, []).append((clock() - began, cpu_clock() - before))
            if done >= _LEAST_ROUNDS and clock() >= end:
                break
        best = {
            job: [min(kind) for kind in zip(*times, strict=True)] for job, times in took.items()
        }
        return [
            _Took(*(sum(kind) for kind in zip(*(best[job] for job in jobs), strict=True)))
            for jobs in contest
        ]

    def _jobs(self, found: Found, copies: int) -> list[Job]:
        """Return a job for each length, each so many times the same rows in such runs."""
        processor, threads = self._processor, DaemonThreads(f"isthmus-try-{self._name}")
        jobs: list[Job] = []
        for length in processor.lengths()[:_LENGTHS]:
            count = min(self._most, max(_POSITIONS // length, 1), _TOGETHER)
            rows = list(processor.probe(count, length))
            batches = [rows] if found.batched else [[row] for row in rows]
            jobs.append(partial(_run_all, found, batches * copies, threads))
        return jobs


def _run_all(found: Found, batches: Sequence[Sequence[Row]], threads: DaemonThreads) -> None:
    """Run batches, as many side by side as the way says."""
    left = list(batches)

    def run() -> None:
        while True:
            try:
                batch = left.pop()
            except IndexError:
                return
            found.forward(batch, Stop())

    for done in [threads.submit(run) for _ in range(found.way.runs)]:
        done.result()


def _layout(way: Way) -> tuple[str, int, int]:
    """Return how a way's runs use the cores, for the file that it reads."""
    return way.file, way.runs, way.threads


def _alone(forward: Forward, rows: Sequence[Row]) -> list[Row]:
    """Return the answer to each row, run by itself."""
    return [forward([row], Stop())[0] for row in rows]
