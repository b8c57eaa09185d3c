import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.serving.metrics import BUCKETS, NodeMetrics

services = st.text(min_size=1, max_size=5)
seconds = st.floats(0, 100)


def parsed(metrics: NodeMetrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Read what a Prometheus server would read: by name, by values of labels in their order."""

    class Collector:
        def collect(self) -> object:
            return metrics.families()

    registry = CollectorRegistry()
    registry.register(Collector())  # type: ignore[arg-type]
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


def test_a_node_without_calls_has_families_without_samples() -> None:
    assert parsed(NodeMetrics()) == {}


def test_calls_are_counted_by_service_and_outcome() -> None:
    metrics = NodeMetrics()
    for code in ("OK", "OK", "OVERLOADED"):
        metrics.record("embed", code, 0.01)
    metrics.declassified["redact"] += 2
    samples = parsed(metrics)
    assert samples["isthmus_requests_total"] == {("OK", "embed"): 2, ("OVERLOADED", "embed"): 1}
    assert samples["isthmus_declassifications_total"] == {("redact",): 2}


@given(st.lists(seconds, min_size=1, max_size=30))
def test_the_histogram_counts_every_duration_below_each_bound(durations: list[float]) -> None:
    metrics = NodeMetrics()
    for duration in durations:
        metrics.record("embed", "OK", duration)
    samples = parsed(metrics)
    buckets = samples["isthmus_request_duration_seconds_bucket"]
    for bound in (*BUCKETS, math.inf):
        below = sum(duration <= bound for duration in durations)
        assert next(v for k, v in buckets.items() if float(k[0]) == bound) == below
    assert samples["isthmus_request_duration_seconds_count"] == {("embed",): len(durations)}
    total = samples["isthmus_request_duration_seconds_sum"]["embed",]
    assert math.isclose(total, sum(durations), abs_tol=1e-9)


@given(st.dictionaries(services, st.integers(1, 5), max_size=4))
def test_any_name_of_a_service_survives_the_format(counts: dict[str, int]) -> None:
    metrics = NodeMetrics()
    for name, count in counts.items():
        for _ in range(count):
            metrics.record(name, "OK", 0.0)
    got = parsed(metrics).get("isthmus_requests_total", {})
    assert {name: value for (_, name), value in got.items()} == counts
