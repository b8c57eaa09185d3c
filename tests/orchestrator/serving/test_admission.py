import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import EndpointUnavailable, Overloaded
from orchestrator.serving.admission import Admission


def test_one_call_too_many_is_refused_and_room_is_made_by_leaving() -> None:
    admission = Admission(limit=2)
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded, match="2 calls, its limit"):
        admission.enter()
    admission.leave()
    admission.enter()
    assert admission.inside == 2


def test_a_call_of_a_call_inside_is_never_refused() -> None:
    admission = Admission(limit=1)
    admission.enter()
    admission.close()
    admission.enter(nested=True)
    assert admission.inside == 2


def test_a_closed_node_takes_no_more_and_lets_those_inside_finish() -> None:
    admission = Admission(limit=5)
    admission.enter()
    admission.close()
    with pytest.raises(EndpointUnavailable, match="going away") as caught:
        admission.enter()
    assert admission.inside == 1
    assert caught.value.retry == "always"  # it did not run


async def test_emptiness_is_told_when_the_last_one_has_left() -> None:
    admission = Admission(limit=5)
    await admission.empty()
    admission.enter()
    admission.enter()
    empty = asyncio.ensure_future(admission.empty())
    admission.leave()
    await asyncio.sleep(0)
    assert not empty.done()
    admission.leave()
    await empty


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=50))
def test_there_are_never_more_inside_than_the_limit(limit: int, steps: list[bool]) -> None:
    admission, inside = Admission(limit), 0
    for enters in steps:
        if enters:
            try:
                admission.enter()
            except Overloaded:
                assert inside == limit
            else:
                inside += 1
        elif inside:
            admission.leave()
            inside -= 1
        assert admission.inside == inside <= limit


async def test_who_comes_after_the_last_one_has_left_is_waited_for_too() -> None:
    admission = Admission(limit=5)
    for _ in range(3):
        admission.enter()
        empty = asyncio.ensure_future(admission.empty())
        await asyncio.sleep(0)
        assert not empty.done()
        admission.leave()
        await empty


async def test_a_refused_call_is_not_counted_and_not_waited_for() -> None:
    admission = Admission(limit=0)
    with pytest.raises(Overloaded):
        admission.enter()
    admission.close()
    with pytest.raises(EndpointUnavailable):
        admission.enter()
    assert admission.inside == 0
    async with asyncio.timeout(1):
        await admission.empty()
    admission.enter(nested=True)  # as a body does that is still inside
    waiting = asyncio.ensure_future(admission.empty())
    await asyncio.sleep(0)
    assert not waiting.done()
    admission.leave()
    await waiting
