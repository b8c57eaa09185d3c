"""What a node counts: plain integers on the call path, Prometheus families at the scrape."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration histogram, in seconds."""


@dataclass(slots=True)
class _Durations:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0


class NodeMetrics:
    """Counts calls by service and outcome. Names of services only: nothing from a payload."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.declassified: Counter[str] = Counter()
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)

    def record(self, service: str, code: str, seconds: float) -> None:
        """Count one call and how long it stayed."""
        self.calls[service, code] += 1
        durations = self._durations[service]
        durations.counts[bisect_left(BUCKETS, seconds)] += 1
        durations.total += seconds

    def families(self) -> "Iterator[Metric]":
        """Yield the Prometheus families."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        calls = CounterMetricFamily(
            "isthmus_requests", "Calls that left the node.", labels=["service", "code"]
        )
        for (service, code), count in sorted(self.calls.items()):
            calls.add_metric([service, code], count)
        yield calls
        lowered = CounterMetricFamily(
            "isthmus_declassifications", "Labels lowered by a declassifier.", labels=["service"]
        )
        for service, count in sorted(self.declassified.items()):
            lowered.add_metric([service], count)
        yield lowered
        durations = HistogramMetricFamily(
            "isthmus_request_duration_seconds", "Time from receipt to answer.", labels=["service"]
        )
        for service, kept in sorted(self._durations.items()):
            durations.add_metric([service], _cumulative(kept.counts), kept.total)
        yield durations


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
