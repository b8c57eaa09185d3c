"""The limit: what the same graphs reach in this process without any serving."""

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from orchestrator.bench.turns import CannotRunError, Figures
from orchestrator.core.model import Batch, ModelFolder, Row, Stop, Way
from orchestrator.models.text import TextEmbedding, TextProcessor, Vectors
from orchestrator.serving.runtimes import find_runtime, how_to_get

PRECISION = "full"
BUCKETS = (8, 16)


class Limit:
    """Runs texts sorted by length in batches of like length, all of them known beforehand.

    Args:
        model: The model.
        folder: Its folder.
        texts: What to run.

    Raises:
        CannotRunError: There is no runtime for it.
    """

    def __init__(self, model: TextEmbedding, folder: ModelFolder, texts: Sequence[str]) -> None:
        kind = find_runtime("edge")
        if kind is None:
            raise CannotRunError(how_to_get("edge"))
        self._name, self._count = model.name, len(texts)
        self._processor = TextProcessor(folder)
        rows = sorted(self._processor.rows(texts), key=self._processor.length)
        alike = self._processor.length(rows[0]) == self._processor.length(rows[-1])
        self._batches = {
            size: self._buckets(rows, size) for size in (BUCKETS[:1] if alike else BUCKETS)
        }
        self._runtime = kind(graph=PRECISION)
        self._runtime.load(model, folder)
        self._ways = list(itertools.product(self._batches, self._runtime.ways(folder)))
        self._rates: dict[tuple[int, Way], float] = defaultdict(float)

    def vector(self, text: str) -> Vectors:
        """Return what the graph answers to one text alone, to check others by."""
        batch = self._processor.collate(self._processor.rows([text]))
        answer = self._runtime.run(self._name, batch, Stop())
        return np.ravel(self._processor.result(self._processor.split(answer, 1)))

    def best(self) -> tuple[Figures, int]:
        """Run all texts in several ways; return the figures of the fastest, and texts in all.

        The ways are all graphs of the full precision, by sizes of buckets, by uses of the cores.
        The first time all are tried, from then on those two that are fastest so far.
        """
        found = {way: self._run(*way) for way in self._ways}
        for way, figures in found.items():
            self._rates[way] = max(self._rates[way], figures["texts_per_second"])
        self._ways = sorted(self._ways, key=self._rates.__getitem__, reverse=True)[:2]
        best = max(found.values(), key=lambda figures: figures["texts_per_second"])
        return best, len(found) * self._count

    def _buckets(self, rows: Sequence[Row], size: int) -> list[Batch]:
        """Cut rows into batches; the longest come first: at the end no core is left alone."""
        buckets = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [self._processor.collate(bucket) for bucket in reversed(buckets)]

    def _run(self, size: int, way: Way) -> Figures:
        batches, compute = self._batches[size], self._runtime.open(self._name, way)

        def run(batch: Batch) -> None:
            compute(batch, Stop())

        with ThreadPoolExecutor(way.runs) as workers:
            began, used = time.perf_counter(), time.process_time()
            list(workers.map(run, batches))
            seconds, used = time.perf_counter() - began, time.process_time() - used
        return {
            "texts_per_second": self._count / seconds,
            "cpu_us": used / self._count * 1e6,
            "bucket": size,
            "runs": way.runs,
        }
