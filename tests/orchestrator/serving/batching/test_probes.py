from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from orchestrator.core.model import Array, Batch, Row, Stop
from orchestrator.serving.batching.costs import CostTable
from orchestrator.serving.batching.forward import Forward
from orchestrator.serving.batching.probes import mates_matter, measure_costs
from orchestrator.testing import ManualClock

Compute = Callable[[Array], Array]


class Floats:
    """Rows of random numbers that share a batch if they are padded, or only if of one length."""

    def __init__(self, padded: bool = True) -> None:
        self.padded = padded

    def key(self, row: Row) -> object:
        return None if self.padded else len(row["x"])

    def length(self, row: Row) -> int:
        return len(row["x"])

    def lengths(self) -> Sequence[int]:
        return (2, 8, 32)

    def example(self) -> Any:
        return [{"x": np.ones(4)}]

    def rows(self, inputs: Any) -> Sequence[Row]:
        return list(inputs)

    def probe(self, count: int, length: int) -> Sequence[Row]:
        return [{"x": np.random.default_rng((n, length)).random(length)} for n in range(count)]

    def collate(self, rows: Sequence[Row]) -> Batch:
        width = max(len(row["x"]) for row in rows)
        return {"x": np.stack([np.pad(row["x"], (0, width - len(row["x"]))) for row in rows])}

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        return [{"y": answer} for answer in batch["y"]]


def forward(compute: Compute, padded: bool = True) -> Forward:
    processor: Any = Floats(padded)

    def run(batch: Batch, stop: Stop) -> Batch:
        return {"y": np.asarray(compute(batch["x"]))}

    return Forward("m", run, processor)


def own(x: Array) -> Array:
    """An answer that depends on the row alone."""
    return np.asarray(x.sum(axis=1))


def quantised(x: Array) -> Array:
    """An answer whose step is a share of the batch's largest number, as dynamic INT8 has it."""
    scale = np.abs(x).max() / 127
    return np.asarray((np.round(x / scale) * scale).sum(axis=1))


def padding_counts(x: Array) -> Array:
    return np.asarray(x.mean(axis=1))


def one_row_only(x: Array) -> Array:
    if len(x) > 1:
        raise ValueError("the batch axis is 1")
    return own(x)


def rounding(x: Array) -> Array:
    return own(x) * (1 + 1e-6 * len(x))


def largest(x: Array) -> Array:
    return np.asarray(x.argmax(axis=1))


def not_a_number(x: Array) -> Array:
    return np.full(len(x), np.nan)


def refuses(x: Array) -> Array:
    raise ValueError("no made-up rows")


def without_memory(x: Array) -> Array:
    if len(x) > 1:
        raise MemoryError
    return own(x)


def dicing() -> Compute:
    dice = np.random.default_rng(1)
    return lambda x: dice.random(len(x))


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("compute", [quantised, one_row_only])
def test_a_model_whose_answers_depend_on_batch_mates_is_found(
    compute: Compute, padded: bool
) -> None:
    assert mates_matter(forward(compute, padded))


def test_so_is_one_that_counts_the_padding() -> None:
    assert mates_matter(forward(padding_counts))
    assert not mates_matter(forward(padding_counts, padded=False))  # nothing is padded there


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(
    "compute", [own, rounding, largest, not_a_number, dicing(), refuses, without_memory]
)
def test_others_are_not_suspected(compute: Compute, padded: bool) -> None:
    assert not mates_matter(forward(compute, padded))


def timed(clock: ManualClock, seen: list[tuple[int, ...]], per_item: float = 0.001) -> Compute:
    """A model that takes a second a thousand numbers, and a tenth for itself."""

    def compute(x: Array) -> Array:
        seen.append(x.shape)
        clock.turn(0.1 + per_item * x.size)
        return own(x)

    return compute


def test_costs_are_measured_in_several_sizes() -> None:
    clock, seen = ManualClock(), list[tuple[int, ...]]()
    costs = CostTable(measure_costs(forward(timed(clock, seen)), 16, 100.0, clock))
    assert set(seen) == {(rows, length) for rows in (1, 4, 16) for length in (2, 8, 32)}
    assert costs.cost(8, 20) == pytest.approx(0.1 + 0.16, rel=0.01)


def test_no_batch_is_measured_that_is_larger_than_batches_may_be() -> None:
    clock, seen = ManualClock(), list[tuple[int, ...]]()
    measure_costs(forward(timed(clock, seen)), 15, 100.0, clock)
    assert {rows for rows, _ in seen} == {1, 4}


def test_a_slow_model_is_measured_in_fewer_sizes_and_within_the_time() -> None:
    clock, seen = ManualClock(), list[tuple[int, ...]]()
    began = clock()
    costs = CostTable(measure_costs(forward(timed(clock, seen, per_item=0.1)), 16, 5.0, clock))
    assert clock() - began <= 5.0
    assert 1 <= len(seen) < 9
    assert costs.cost(1, 2) == pytest.approx(0.3, rel=0.05)


def test_the_fastest_run_of_a_size_counts() -> None:
    clock, held_up = ManualClock(), [0.0] * 18 + [1.0] * 9

    def compute(x: Array) -> Array:
        clock.turn(0.1 + held_up.pop())
        return own(x)

    costs = CostTable(measure_costs(forward(compute), 16, 1000.0, clock))
    assert costs.cost(4, 8) == pytest.approx(0.1, rel=0.02)


def test_sizes_that_fail_are_left_out() -> None:
    clock, seen = ManualClock(), list[tuple[int, ...]]()
    within = timed(clock, seen)

    def compute(x: Array) -> Array:
        if x.size > 100:
            raise MemoryError
        return within(x)

    costs = CostTable(measure_costs(forward(compute), 16, 100.0, clock))
    assert costs.cost(4, 8) == pytest.approx(0.132, rel=0.01)


def test_of_a_model_that_refuses_made_up_rows_only_its_example_is_measured() -> None:
    clock, seen = ManualClock(), list[tuple[int, ...]]()
    within = timed(clock, seen)

    def compute(x: Array) -> Array:
        if x[0, 0] != 1:
            raise ValueError("no made-up rows")
        return within(x)

    costs = CostTable(measure_costs(forward(compute), 16, 100.0, clock))
    assert seen == [(1, 4)]
    assert costs.cost(1, 4) == pytest.approx(0.104, rel=0.01)


def test_on_a_clock_that_stands_still_nothing_is_known() -> None:
    assert measure_costs(forward(own), 16, 1.0, ManualClock()) == {}
