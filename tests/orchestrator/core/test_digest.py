import hashlib
import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from orchestrator.core.codecs import register_codec
from orchestrator.core.digest import keyed_digest
from orchestrator.core.labels import Secret

KEY, OTHER = b"k" * 32, b"o" * 32


@dataclass(frozen=True)
class Point:
    x: int
    y: Any = None


class Person(BaseModel):
    name: str


class Ticket:
    def __init__(self, number: int) -> None:
        self.number = number


register_codec(Ticket, lambda ticket: ticket.number, Ticket)

DIFFERENT = [
    None, True, False, 0, 1, 1.0, "", "1", b"1", "True", "ab", ["a", "b"], ["ab"], [["a"], "b"], [],
    {}, {"a": "b"}, set(), {"a"}, Point(1), Point(1, 2), Person(name="a"), Ticket(1), Ticket(2),
    date(2000, 1, 1), date(2000, 1, 2), Decimal("1.0"), Decimal("1"), uuid.UUID(int=1),
    np.zeros(2, np.int32), np.zeros(2, np.int64), np.zeros((2, 1), np.int32), np.zeros(0),
    np.array([1, 0], np.int32), np.float32(0), np.array(["a"]), np.array(["b"]), "\ud800",
]  # fmt: skip


def test_different_values_have_different_digests() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert keyed_digest(KEY, one) != keyed_digest(KEY, other), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (np.arange(6).reshape(2, 3).T, np.ascontiguousarray(np.arange(6).reshape(2, 3).T)),
        (Secret(["a"]), ["a"]),
        ([Secret("a", "pii")], ["a"]),
    ],
)
def test_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    assert keyed_digest(KEY, one) == keyed_digest(KEY, other)


def test_without_the_key_a_small_domain_cannot_be_tried() -> None:
    days = [date(1980, month, day) for month in range(1, 13) for day in range(1, 29)]
    target = keyed_digest(KEY, days[17])
    assert target not in [keyed_digest(OTHER, day) for day in days]
    plain = [hashlib.sha256(str(day).encode()).hexdigest() for day in days]
    assert target.hex not in plain
    assert target in [keyed_digest(KEY, day) for day in days]  # the control: with the key it can


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def told_apart(value: Any) -> Any:
    """Return a value in which 1 and True are not equal."""
    if isinstance(value, list):
        return [told_apart(part) for part in value]
    if isinstance(value, dict):
        return {key: told_apart(part) for key, part in value.items()}
    return type(value).__name__, value


@given(values, values)
def test_digests_are_equal_exactly_where_values_are(one: Any, other: Any) -> None:
    same = told_apart(one) == told_apart(other)
    assert (keyed_digest(KEY, one) == keyed_digest(KEY, other)) is same
