from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.deadline import Deadline
from orchestrator.serving.batching.costs import CostTable
from orchestrator.serving.batching.grouping import Limits, group
from orchestrator.serving.batching.waiting import Entry
from orchestrator.testing import ManualClock

MANY = Limits(rows=32)


def entry(length: int, deadline: Deadline | None = None) -> Entry:
    nobody: Any = None
    return Entry(nobody, 0, {}, None, length, deadline)


def entries(*lengths: int) -> list[Entry]:
    return [entry(length) for length in lengths]


def table(run: float, token: float) -> CostTable:
    return CostTable({(r, n): run + token * r * n for r in (1, 4, 16) for n in (1, 8, 64)})


def lengths_of(batch: list[Entry]) -> list[int]:
    return [one.length for one in batch]


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=50),
    st.floats(1e-3, 10),
    st.floats(1e-4, 1),
    st.integers(1, 40),
    st.floats(1, 500),
)
def test_a_batch_costs_no_more_than_its_rows_apart_and_stays_within_its_limits(
    lengths: list[int], run: float, token: float, rows: int, room: float
) -> None:
    costs, (first, *others) = table(run, token), entries(*lengths)
    batch = group(first, others, Limits(rows, room), costs)
    longest = max(lengths_of(batch))
    apart = sum(costs.cost(1, one.length) for one in batch)
    assert costs.cost(len(batch), longest) <= apart * (1 + 1e-9)
    assert batch[0] is first
    assert len(set(map(id, batch))) == len(batch) <= rows
    assert len(batch) == 1 or len(batch) * longest <= room


def test_rows_join_while_that_saves_more_than_their_padding_costs() -> None:
    costs, (first, *others) = table(run=10, token=1), entries(8, 8, 9, 9, 60)
    assert lengths_of(group(first, others, MANY, costs)) == [8, 8, 9, 9]


def test_where_a_run_costs_the_same_for_any_rows_the_batch_is_filled() -> None:
    costs, (first, *others) = table(run=10, token=1e-5), entries(8, *[60] * 100)
    assert len(group(first, others, MANY, costs)) == 32


def test_where_sharing_saves_nothing_rows_run_alone_and_soon() -> None:
    costs, (first, *others) = table(run=1e-6, token=1), entries(*[60] * 100)
    assert len(group(first, others, MANY, costs)) == 1
    assert len(group(first, others, MANY, costs, stretch=2)) == 2


def test_of_batches_that_cost_about_the_same_the_smallest_is_taken() -> None:
    first, *others = entries(*[10] * 100)
    # Sharing saves a tenth of a row's cost at most: with 4 rows all of it but 2.5 percent.
    costs = table(run=1, token=0.9)
    assert 2 <= len(group(first, others, MANY, costs)) <= 4
    assert len(group(first, others, MANY, table(run=1, token=0.1))) > 8


def test_without_costs_every_row_joins_up_to_the_limits() -> None:
    first, *others = entries(*range(1, 60))
    assert lengths_of(group(first, others, MANY, None)) == list(range(1, 33))
    assert lengths_of(group(first, others, Limits(32, room=30), None)) == [1, 2, 3, 4, 5]


def test_nobody_joins_who_would_make_the_batch_too_late() -> None:
    clock = ManualClock()
    costs = table(run=10, token=1)

    def due(seconds: float) -> Deadline:
        return Deadline.after(seconds, clock)

    first = entry(8, due(10 + 3 * 8 + 1))
    others = [entry(8, due(5)), entry(8), entry(8, due(100)), entry(8)]
    batch = group(first, others, MANY, costs)
    assert batch == [first, others[1], others[2]]


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1.0])
def test_who_is_late_already_runs_alone(seconds: float) -> None:
    costs, others = table(run=10, token=1), entries(8, 8)
    first = entry(8, Deadline.after(seconds, ManualClock()))
    assert group(first, others, MANY, costs) == [first]


def test_the_search_ends_where_it_is_hopeless() -> None:
    seen: list[int] = []

    def others() -> Any:
        for length in (8, *range(20, 64)):
            seen.append(length)
            yield entry(length)

    group(entry(8), cast(Any, others()), MANY, table(run=1, token=1))
    assert len(seen) < 5
