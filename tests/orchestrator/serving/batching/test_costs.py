import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.serving.batching.costs import CostTable, Size

PROBED = [(rows, length) for rows in (1, 4, 16) for length in (8, 32, 128)]
sizes = st.tuples(st.integers(1, 64), st.integers(1, 2048))


def small_cpu(rows: int, length: int) -> float:
    """A text model on a small processor: what counts is the padded length."""
    return 1.2e-3 + rows * length * (1.25e-4 + 2e-7 * length)


def accelerator(rows: int, length: int) -> float:
    """A large accelerator: a run costs the same for any number of rows."""
    return 5e-3


def table_of(cost: Callable[[int, int], float]) -> CostTable:
    return CostTable({size: cost(*size) for size in PROBED})


def learned(table: CostTable, cost: Callable[[int, int], float], noise: float = 0.0) -> CostTable:
    """Return the table after 3,000 runs of random sizes."""
    dice = random.Random(3)
    for _ in range(3000):
        size = dice.randint(1, 16), dice.randint(8, 128)
        table.learn(*size, cost(*size) * math.exp(dice.gauss(0, noise)))
    return table


def worst(table: CostTable, cost: Callable[[int, int], float]) -> float:
    """Return by what factor the table is off at the size where it is furthest off."""
    found = [
        abs(math.log(table.cost(r, n) / cost(r, n))) for r in range(1, 17) for n in (8, 50, 128)
    ]
    return math.exp(max(found)) - 1


@pytest.mark.parametrize("cost", [small_cpu, accelerator])
def test_a_few_measured_sizes_tell_all_others(cost: Callable[[int, int], float]) -> None:
    assert worst(table_of(cost), cost) < 0.02


def test_where_all_rows_cost_the_same_the_number_of_rows_tells() -> None:
    table = CostTable({(rows, 1): 1.0 + rows for rows in (1, 4, 16)})
    assert [table.cost(rows, 1) for rows in (1, 3, 8)] == pytest.approx([2, 4, 9], rel=0.01)


def test_a_single_measurement_is_enough_to_begin_with() -> None:
    table = CostTable({(1, 32): 0.01})
    assert table.cost(1, 32) == pytest.approx(0.01, rel=0.01)
    assert table.cost(1, 8) < table.cost(1, 32) < table.cost(2, 32) < 2 * table.cost(1, 32)


@given(
    st.dictionaries(sizes, st.floats(1e-6, 100), min_size=1, max_size=9),
    st.lists(st.tuples(sizes, st.floats(0, 1000)), max_size=50),
    sizes,
)
def test_costs_are_positive_whatever_was_measured_and_learned(
    measured: dict[Size, float], runs: list[tuple[Size, float]], asked: Size
) -> None:
    table = CostTable(measured)
    for size, seconds in runs:
        table.learn(*size, seconds)
    assert 0 < table.cost(*asked) < float("inf")


@given(
    st.dictionaries(sizes, st.floats(1e-6, 100), min_size=1, max_size=9),
    st.integers(1, 64),
    st.integers(1, 1024),
)
def test_before_anything_is_learned_more_or_longer_rows_never_cost_less(
    measured: dict[Size, float], rows: int, length: int
) -> None:
    table = CostTable(measured)
    assert table.cost(rows, length) <= table.cost(rows + 1, length) * (1 + 1e-9)
    assert table.cost(rows, length) <= table.cost(rows, length + 1) * (1 + 1e-9)


def test_runs_correct_a_table_that_began_vague() -> None:
    vague = CostTable({(1, 32): small_cpu(1, 32)})
    assert worst(vague, small_cpu) > 0.5
    assert worst(learned(vague, small_cpu), small_cpu) < 0.1


def test_a_cost_that_follows_no_law_is_learned_too() -> None:
    def cached(rows: int, length: int) -> float:
        """The larger a batch, the less of it fits into the cache."""
        return small_cpu(rows, length) * (1 + 0.1 * math.log2(rows))

    table = learned(table_of(small_cpu), cached)
    for rows, length in ((1, 16), (4, 32), (8, 100), (16, 64)):
        assert table.cost(rows, length) == pytest.approx(cached(rows, length), rel=0.1)


def test_noise_leaves_the_table_about_right() -> None:
    table = learned(table_of(small_cpu), small_cpu, noise=0.3)
    ratio = table.cost(8, 32) / (8 * table.cost(1, 32))
    assert ratio == pytest.approx(small_cpu(8, 32) / (8 * small_cpu(1, 32)), rel=0.1)


def test_a_machine_that_slows_down_does_so_at_every_size() -> None:
    table = table_of(small_cpu)
    for _ in range(20):
        table.learn(2, 30, 3 * small_cpu(2, 30))
    for size in ((1, 8), (2, 30), (16, 128)):
        assert table.cost(*size) == pytest.approx(3 * small_cpu(*size), rel=0.35)


def test_a_run_that_was_held_up_teaches_little() -> None:
    table = table_of(small_cpu)
    table.learn(4, 32, 1000 * small_cpu(4, 32))
    assert table.cost(4, 32) < 1.5 * small_cpu(4, 32)


def test_a_clock_that_stands_still_teaches_nothing() -> None:
    table = table_of(small_cpu)
    before = table.cost(4, 32)
    table.learn(4, 32, 0.0)
    assert table.cost(4, 32) == before
