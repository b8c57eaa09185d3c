import asyncio
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import EndpointUnavailable, Overloaded
from orchestrator.serving.admission import Admission


def test_one_call_too_many_is_refused_and_room_is_made_by_leaving() -> None:
    admission = Admission(limit=2)
    with admission.taken():
        with admission.taken(), pytest.raises(Overloaded, match="2 calls, its limit"):
            admission.taken().__enter__()
        with admission.taken():
            assert admission.inside == 2
    assert admission.inside == 0


def test_a_call_that_fails_leaves_too() -> None:
    admission = Admission(limit=1)
    with pytest.raises(KeyError), admission.taken():
        raise KeyError
    with admission.taken():
        assert admission.inside == 1


def test_a_closed_node_takes_no_more_and_lets_those_inside_finish() -> None:
    admission = Admission(limit=5)
    with admission.taken():
        admission.close()
        with pytest.raises(EndpointUnavailable, match="going away") as caught:
            admission.taken().__enter__()
        assert admission.inside == 1
    assert caught.value.retry == "always"  # it did not run


async def test_emptiness_is_told_when_the_last_one_has_left() -> None:
    admission = Admission(limit=5)
    await admission.empty()
    with admission.taken():
        with admission.taken():
            empty = asyncio.ensure_future(admission.empty())
        await asyncio.sleep(0)
        assert not empty.done()
    await empty


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=50))
def test_there_are_never_more_inside_than_the_limit(limit: int, steps: list[bool]) -> None:
    admission = Admission(limit)
    inside: list[AbstractContextManager[None]] = []
    for enters in steps:
        if enters:
            place = admission.taken()
            try:
                place.__enter__()
            except Overloaded:
                assert len(inside) == limit
            else:
                inside.append(place)
        elif inside:
            inside.pop().__exit__(None, None, None)
        assert admission.inside == len(inside) <= limit
