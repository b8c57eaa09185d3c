import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Row
from orchestrator.core.running import Meter
from orchestrator.serving.batching.waiting import Caller, Entry, Waiting

Make = Callable[..., Entry]


def caller(rows: int = 1) -> Caller:
    future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
    return Caller(future, Meter(), came=0.0, missing=rows)


def entry(length: int, key: object = None) -> Entry:
    return Entry(caller(), 0, {}, key, length)


def filled(*lengths: int) -> tuple[Waiting, list[Entry]]:
    waiting, entries = Waiting(), [entry(length) for length in lengths]
    for one in entries:
        waiting.add(one)
    return waiting, entries


async def test_the_nearest_in_length_come_first_and_of_one_length_the_oldest() -> None:
    waiting, (first, *others) = filled(10, 13, 8, 13, 10, 40)
    near = list(waiting.near(first))
    assert [one.length for one in near] == [10, 8, 13, 13, 40]
    assert near[2] is others[0]


async def test_rows_of_another_key_are_not_near_and_not_after() -> None:
    waiting, (first, second) = filled(1, 1)
    other = entry(1, key="other")
    waiting.add(other)
    assert list(waiting.near(first)) == list(waiting.after(first)) == [second]
    assert list(waiting.near(other)) == []


async def test_whose_caller_has_left_is_passed_over_and_forgotten() -> None:
    waiting, (gone, first, also_gone, last) = filled(1, 2, 2, 3)
    gone.caller.future.cancel()
    also_gone.caller.future.cancel()
    assert waiting.oldest() is first
    assert len(waiting) == 3
    assert list(waiting.near(first)) == list(waiting.after(first)) == [last]


async def test_an_empty_queue_has_no_oldest() -> None:
    waiting, (only,) = filled(1)
    waiting.discard(only)
    waiting.discard(only)
    assert waiting.oldest() is None
    assert len(waiting) == 0


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab")), min_size=1, max_size=40),
    st.sets(st.integers(0, 39)),
)
async def test_every_row_that_waits_is_found_once_in_the_order_of_nearness(
    rows: list[tuple[int, str]], taken: set[int]
) -> None:
    waiting, entries = Waiting(), [entry(*row) for row in rows]
    for one in entries:
        waiting.add(one)
    for place in taken & set(range(len(entries))):
        waiting.discard(entries[place])
    left = [one for place, one in enumerate(entries) if place not in taken]
    assert list(waiting) == left
    assert waiting.oldest() is (left[0] if left else None)
    for first in left[:1]:
        alike = [one for one in left[1:] if one.key == first.key]
        near = list(waiting.near(first))
        assert list(waiting.after(first)) == alike
        assert set(near) == set(alike)
        assert len(near) == len(alike)
        distances = [abs(one.length - first.length) for one in near]
        assert distances == sorted(distances)


async def test_answers_are_handed_over_in_order_once_none_is_missing() -> None:
    waits = caller(2)
    waits.answer(1, {"y": "second"})  # type: ignore[dict-item]
    assert not waits.left
    waits.answer(0, {"y": "first"})  # type: ignore[dict-item]
    assert [row["y"] for row in await waits.future] == ["first", "second"]


async def test_what_comes_after_a_failure_or_a_cancellation_is_dropped() -> None:
    failed, left = caller(), caller()
    failed.fail(ModelUnavailable("gone"))
    left.future.cancel()
    for one in (failed, left):
        one.answer(0, {})
        one.fail(ValueError("again"))
    with pytest.raises(ModelUnavailable):
        await failed.future
    assert left.future.cancelled()
