from typing import Any

import pytest

from orchestrator.core.errors import PrivacyRefused
from orchestrator.core.labels import ENVELOPES, Internal, Labelled, Secret, Sensitive
from orchestrator.wire.envelopes import envelope_of, mark_of, opened_flat, plain_flat
from orchestrator.wire.payloads import Packed, _Packing, _Unpacking, pack, unpack
from policies.facts import PUBLIC, Label, Level

FLAT: list[Any] = [
    Sensitive("text", "pii"),
    Secret(["a", "b", 3, None, 2.5]),
    {"text": Internal("x"), "count": 3, "none": None},
    {"one": Secret(1, "phi", "pii"), "other": Sensitive(True)},
]
DEEP: list[Any] = [
    Sensitive({"a": 1}),
    Sensitive([["a"]]),
    {"$text": Sensitive("x")},
    {"text": [Sensitive("x")]},
    {"text": Sensitive("x"), "more": {"a": 1}},
    {"text": Sensitive(b"bytes")},
    [Sensitive("x")],
    Sensitive("\ud800"),
    Sensitive(10**5000),
]


def same(one: Any, other: Any) -> bool:
    """Say whether two values and the labels in them are equal."""
    if isinstance(one, Labelled) and isinstance(other, Labelled):
        return one.label == other.label and same(one.reveal("a test"), other.reveal("a test"))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("value", FLAT)
def test_the_short_way_gives_what_the_long_one_gives(value: Any) -> None:
    packing = _Packing()
    flat = plain_flat(value)
    assert flat is not None
    plain, label = flat
    assert plain == packing.plain(value)
    assert (label, pack(value).label) == (packing.label, packing.label)
    assert same(unpack(pack(value)), value)
    assert same(_Unpacking(()).value(packing.plain(value)), value)


@pytest.mark.parametrize("value", DEEP[:7])
def test_what_has_any_depth_goes_the_long_way(value: Any) -> None:
    assert plain_flat(value) is None
    assert pack(value).label.level >= Level.INTERNAL


@pytest.mark.parametrize("value", DEEP[7:])
def test_what_cannot_travel_is_told_in_our_words(value: Any) -> None:
    with pytest.raises(Exception, match="cannot travel"):
        pack(value)


@pytest.mark.parametrize("level", list(ENVELOPES))
def test_a_mark_names_its_label(level: Level) -> None:
    label = Label(level, frozenset({"pii", "phi"}))
    assert envelope_of(mark_of(label), "x").label == label


NO_MARKS = [
    None,
    3,
    "secret",
    ["secret"],
    ["secret", 5],
    ["secret", [5]],
    ["public", []],
    ["top", []],
]


@pytest.mark.parametrize("mark", NO_MARKS)
def test_a_mark_that_names_no_label_is_refused(mark: Any) -> None:
    with pytest.raises(PrivacyRefused, match="unknown label"):
        envelope_of(mark, "x")


def test_json_without_envelopes_is_left_as_it_is() -> None:
    assert opened_flat({"a": 1, "b": "x"}) == {"a": 1, "b": "x"}
    assert [opened_flat(body) for body in ([1], "x", {"a": [1]}, {"$a": 1})] == [None] * 4
    assert unpack(Packed(b'{"a":{"$label":["secret",[]],"$value":"x"}}'))["a"].label != PUBLIC
