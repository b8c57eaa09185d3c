from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.call import Call
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import InvalidInput, PrivacyRefused
from orchestrator.core.labels import Internal, Secret, Sensitive
from orchestrator.wire.guard import MAX_CALL_BYTES, let_out
from policies.facts import PUBLIC, Clearance, Label, Level, Placement

names = st.frozensets(st.sampled_from(["pii", "phi"]))
labels = st.builds(Label, st.sampled_from(Level), names)
clearances = st.builds(Clearance, st.sampled_from(Level), st.none() | names)
ANYTHING = Clearance(Level.SECRET)
MakeCall = Callable[..., Call]


@pytest.fixture(scope="module")
def plain_call() -> Call:
    deadline = Deadline.after(10.0)
    return Call("0" * 16, "a" * 32, "echo", "", {"x": 1}, PUBLIC, deadline, Placement("edge"))


@given(labels, clearances)
def test_exactly_the_calls_that_the_clearance_covers_are_let_out(
    plain_call: Call, label: Label, clearance: Clearance
) -> None:
    too_high = label.level > clearance.level
    foreign = clearance.categories is not None and not label.categories <= clearance.categories
    try:
        let_out(replace(plain_call, label=label), clearance)
        refused = False
    except PrivacyRefused:
        refused = True
    assert refused == (too_high or foreign)


@dataclass
class Record:
    note: Any


@pytest.mark.parametrize(
    "hide",
    [
        lambda secret: secret,
        lambda secret: [1, secret],
        lambda secret: {"deep": ({"er": [secret]},)},
        Record,
        lambda secret: Record({"x": [secret]}),
    ],
    ids=["alone", "in a list", "deep", "in a dataclass", "deep in a dataclass"],
)
def test_a_value_labelled_above_its_call_is_refused_wherever_it_hides(
    call_of: MakeCall, hide: Callable[[Any], Any]
) -> None:
    # The positive control: the same value passes when the call carries its label.
    let_out(call_of(label=Label(Level.SECRET), x=hide(Secret("s"))), ANYTHING)
    let_out(call_of(x=hide("s")), ANYTHING)
    for label in (Label(), Label(Level.INTERNAL), Label(Level.SENSITIVE)):
        with pytest.raises(PrivacyRefused, match="carries a value labelled secret"):
            let_out(call_of(label=label, x=hide(Secret("s"))), ANYTHING)


def test_a_category_that_the_call_does_not_carry_is_refused(call_of: MakeCall) -> None:
    value = Sensitive("s", "phi")
    let_out(call_of(label=Label(Level.SENSITIVE, frozenset({"phi"})), x=value), ANYTHING)
    with pytest.raises(PrivacyRefused):
        let_out(call_of(label=Label(Level.SECRET, frozenset({"pii"})), x=value), ANYTHING)


def test_the_refusal_names_labels_and_call_and_not_the_value(call_of: MakeCall) -> None:
    call = call_of(label=Label(Level.SENSITIVE, frozenset({"pii"})), x=Internal("canary"))
    with pytest.raises(PrivacyRefused) as caught:
        let_out(call, Clearance(Level.INTERNAL))
    assert str(caught.value) == "label sensitive{pii} of the call is above clearance internal"
    assert caught.value.call_id == call.id


def test_a_call_above_80_mib_is_refused_with_the_cure(call_of: MakeCall) -> None:
    let_out(call_of(x=np.zeros(MAX_CALL_BYTES - 1000, np.uint8)), ANYTHING)
    with pytest.raises(InvalidInput, match=r"80\.0 MiB are more .* raise max_call_mib"):
        let_out(call_of(x=np.zeros(MAX_CALL_BYTES, np.uint8)), ANYTHING)


def test_many_small_values_count_together(call_of: MakeCall) -> None:
    let_out(call_of(x=["t" * 100] * 5), ANYTHING, max_bytes=1000)
    with pytest.raises(InvalidInput):
        let_out(call_of(x=["t" * 100] * 10), ANYTHING, max_bytes=1000)


def test_what_is_private_is_refused_before_its_size_is_told(call_of: MakeCall) -> None:
    call = call_of(label=Label(Level.SECRET), x=b"x" * 5000)
    with pytest.raises(PrivacyRefused):
        let_out(call, Clearance(), max_bytes=1000)


class Finds:
    """A scanner that notes what it was shown, and finds or fails as it is told."""

    def __init__(self, found: str | Exception | None) -> None:
        self.found = found
        self.seen: list[bytes] = []

    def find(self, data: bytes | memoryview) -> str | None:
        self.seen.append(bytes(data))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


LOW = Clearance(Level.PUBLIC)


def test_a_scanner_sees_all_bytes_on_their_way_to_a_public_place(plain_call: Call) -> None:
    scanner = Finds(None)
    arguments = {"text": "geheim", "raw": b"bytes", "array": np.arange(3, dtype=np.uint8)}
    let_out(replace(plain_call, arguments=arguments), LOW, scanner=scanner)
    assert b"geheim" in scanner.seen[0]
    assert scanner.seen[1:] == [b"bytes", b"\0\1\2"]


def test_what_a_scanner_finds_is_refused_by_its_name(plain_call: Call) -> None:
    with pytest.raises(PrivacyRefused, match="scanner of calls to public places found a badge"):
        let_out(plain_call, LOW, scanner=Finds("a badge"))


def test_a_scanner_that_fails_lets_nothing_pass_and_its_words_are_not_repeated(
    plain_call: Call,
) -> None:
    with pytest.raises(PrivacyRefused, match=r"it failed \(ValueError\)") as refused:
        let_out(plain_call, LOW, scanner=Finds(ValueError("geheim")))
    assert "geheim" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_no_scanner_is_asked_where_internal_data_may_go(plain_call: Call) -> None:
    scanner = Finds("a badge")
    let_out(plain_call, Clearance(Level.INTERNAL), scanner=scanner)
    assert scanner.seen == []


@pytest.mark.parametrize(
    "unknown", [None, "secret", 3, type("Odd", (), {"covers": lambda *_: 1})()]
)
def test_a_clearance_that_cannot_be_read_lets_nothing_pass(plain_call: Call, unknown: Any) -> None:
    with pytest.raises(PrivacyRefused):
        let_out(plain_call, unknown)


@pytest.mark.parametrize("unknown", [None, "public", 3])
def test_a_label_that_cannot_be_read_lets_nothing_pass(plain_call: Call, unknown: Any) -> None:
    with pytest.raises(PrivacyRefused, match="cannot be read"):
        let_out(replace(plain_call, label=unknown), ANYTHING)
