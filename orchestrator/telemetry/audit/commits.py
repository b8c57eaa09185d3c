"""What the log counts: entries, commits, and how long an entry waits until it is safe."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper bounds of the histogram, in seconds."""


class Commits:
    """Counts what one thread writes; others may read it.

    Attributes:
        entries: Entries that are safe.
        commits: Writes that made them so, with one fsync each.
        refused: Events that could not be kept.
        seconds: How long all entries together waited.
    """

    def __init__(self) -> None:
        self.entries = self.commits = self.refused = 0
        self.seconds = 0.0
        self._counts = [0] * (len(BUCKETS) + 1)

    def committed(self, waits: list[float]) -> None:
        """Count one commit, by how long each of its entries waited, in seconds."""
        self.commits += 1
        self.entries += len(waits)
        self.seconds += sum(waits)
        for seconds in waits:
            self._counts[bisect_left(BUCKETS, seconds)] += 1

    def families(self, writable: bool) -> "Iterator[Metric]":
        """Yield the Prometheus families."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, words, value in (
            ("entries", "Entries of the audit log that are safe.", self.entries),
            ("commits", "Writes that made them so, with one fsync each.", self.commits),
            ("refused", "Events that could not be kept.", self.refused),
        ):
            yield CounterMetricFamily(f"isthmus_audit_{name}", words, value=value)
        yield GaugeMetricFamily(
            "isthmus_audit_writable", "Whether the last commit succeeded.", value=writable
        )
        total, buckets = 0, []
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        yield HistogramMetricFamily(
            "isthmus_audit_commit_seconds",
            "How long an entry waited until it was safe.",
            buckets=buckets,
            sum_value=self.seconds,
        )
