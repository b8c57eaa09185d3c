from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orchestrator.core.model import Array, Batch, Row, Stop, Way
from orchestrator.serving.batching.trial import Trial
from orchestrator.testing import ManualClock

Answer = Callable[[Array], Array]

FULL = Way("full", 1, 1, 1e-4, "full.onnx")


class Rows:
    """Rows of random numbers, of two lengths."""

    def key(self, row: Row) -> object:
        return None

    def lengths(self) -> tuple[int, ...]:
        return 4, 8, 512

    def probe(self, count: int, length: int) -> list[Row]:
        return [{"x": np.random.default_rng((n, length)).random(length) + n} for n in range(count)]

    def collate(self, rows: list[Row]) -> Batch:
        width = max(len(row["x"]) for row in rows)
        return {"x": np.stack([np.pad(row["x"], (0, width - len(row["x"]))) for row in rows])}

    def split(self, batch: Batch, count: int) -> list[Row]:
        return [{"y": answer} for answer in batch["y"]]


class Machine:
    """A runtime on a clock of its own.

    Args:
        seconds: What a run of each graph takes, and each of its rows.
        answers: What each graph computes.
    """

    def __init__(
        self, seconds: dict[str, tuple[float, float]], answers: dict[str, Answer] | None = None
    ) -> None:
        self.clock = ManualClock()
        self.seconds = seconds
        self.answers = answers or {}
        self.open_now: set[Way] = set()
        self.most_open = 0
        self.tried: list[str] = []

    def open(self, name: str, way: Way) -> Any:
        self.open_now.add(way)
        self.most_open = max(self.most_open, len(self.open_now))
        return lambda batch, stop: self.compute(way, batch["x"], stop)

    def use(self, name: str, way: Way) -> None:
        self.open_now = {way}

    def compute(self, way: Way, x: Array, stop: Stop) -> Batch:
        self.tried.append(str(way))
        run, row = self.seconds[way.graph]
        self.clock.turn((run + row * len(x)) / way.threads)
        return {"y": self.answers.get(way.graph, own)(x)}

    def best(self, *ways: Way, most: int = 32) -> Any:
        trial = Trial(self, "m", Rows(), most, self.clock, self.clock)  # type: ignore[arg-type]
        return trial.best(ways)


def own(x: Array) -> Array:
    return np.asarray(x.sum(axis=1))


def nearly(x: Array) -> Array:
    return own(x) * 1.05


def quantised(x: Array) -> Array:
    """Rounds to a share of the batch's largest number, as dynamic INT8 does."""
    scale = np.abs(x).max() / 127
    return np.asarray((np.round(x / scale) * scale).sum(axis=1))


def refuses(x: Array) -> Array:
    raise ValueError("no made-up rows")


def small(tolerance: float = 0.1) -> Way:
    return Way("small", 1, 1, tolerance, "small.onnx")


def test_the_cheapest_is_taken() -> None:
    machine = Machine({"full": (0.01, 0.01), "small": (0.005, 0.005)})
    found = machine.best(FULL, small())
    assert (found.way, found.batched) == (small(), True)


def test_what_is_hardly_cheaper_is_not_taken() -> None:
    machine = Machine({"full": (0.01, 0.01), "small": (0.0099, 0.0099)})
    assert machine.best(FULL, small()).way == FULL


def test_what_differs_by_more_than_its_tolerance_is_never_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds = {"full": (0.01, 0.01), "small": (0.001, 0.001)}
    for tolerance, taken in ((0.1, small()), (0.01, FULL)):
        machine = Machine(seconds, {"small": nearly})
        assert machine.best(FULL, small(tolerance)).way.graph == taken.graph
    assert "answers of small differ by 0.05 of their norm, more than 0.01" in caplog.text


@pytest.mark.parametrize(("each", "taken"), [(0.012, "small"), (0.018, "full")])
def test_a_graph_that_depends_on_batch_mates_is_compared_a_row_in_each_run(
    each: float, taken: str
) -> None:
    # Four rows: 0.02 + 4 * 0.01 = 0.06 s together, or 4 * 0.012 = 0.048 s or 4 * 0.018 apart.
    machine = Machine({"full": (0.02, 0.01), "small": (each, 0.0)}, {"small": quantised})
    found = machine.best(FULL, small())
    assert found.way.graph == taken
    assert found.batched is (taken == "full")


def test_without_batches_nobody_is_batched() -> None:
    assert not Machine({"full": (0.01, 0.01)}).best(FULL, most=1).batched


def test_a_graph_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine({"full": (0.01, 0.01), "small": (0.001, 0.001)}, {"small": refuses})
    assert machine.best(FULL, small()).way == FULL
    assert "small does not run (ValueError)" in caplog.text


def test_where_made_up_rows_are_refused_the_first_stays(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine({"full": (0.01, 0.01), "small": (0.001, 0.001)}, {"full": refuses})
    assert machine.best(FULL, small()).way == FULL
    assert "refuses made-up rows" in caplog.text


def test_two_ways_at_most_are_open_at_a_time_and_the_best_is_left() -> None:
    seconds = {str(n): (0.01 / n, 0.01 / n) for n in range(1, 6)}
    machine = Machine(seconds)
    found = machine.best(*(Way(str(n), 1, 1, 0.1, str(n)) for n in range(1, 6)))
    assert (found.way.graph, machine.most_open, machine.open_now) == ("5", 2, {found.way})


def test_a_layout_that_lost_is_not_tried_with_another_graph_of_the_file() -> None:
    machine = Machine({"fused": (0.01, 0.01), "unfused": (0.005, 0.005)})
    ways = [
        Way(graph, 1, threads, 0.1, "full.onnx")
        for graph in ("fused", "unfused")
        for threads in (1, 2)
    ]
    assert machine.best(*ways).way == ways[3]
    assert str(ways[2]) not in machine.tried[machine.tried.index(str(ways[3])) :]


def test_a_way_that_is_sooner_but_costs_the_processors_more_is_not_taken() -> None:
    machine, cpu = Machine({"full": (0.01, 0.01)}), ManualClock()

    def compute(way: Way, x: Array, stop: Stop) -> Batch:
        machine.clock.turn(1.0 / way.threads)
        cpu.turn(1.0 if way.threads == 1 else 1.2)
        return {"y": own(x)}

    machine.compute = compute  # type: ignore[method-assign]
    wide = Way("full", 1, 2, 1e-4, "full.onnx")
    for cpu_clock, taken in ((cpu, FULL), (machine.clock, wide)):
        trial = Trial(machine, "m", Rows(), 32, machine.clock, cpu_clock)  # type: ignore[arg-type]
        assert trial.best([FULL, wide]).way == taken
