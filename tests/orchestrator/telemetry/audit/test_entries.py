import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.audit import Decided, Declassified, Digest, Erased, Event, Revealed
from orchestrator.telemetry.audit.entries import (
    GENESIS,
    Cut,
    Damaged,
    Head,
    canonical,
    facts_of,
    seal,
    unseal,
)
from policies.facts import PUBLIC, Label, Level

NOW = "2026-01-01T00:00:00.000000+00:00"
PII = Label(Level.SENSITIVE, frozenset({"pii", "phi"}))


def test_an_entry_says_what_happened_and_leaves_out_what_says_nothing() -> None:
    event = Decided(
        call="c1", service="embed", node="edge-1", label=PII, candidates=("edge-1", "edge-2"),
        refused=(("cloud-1", "privacy"),),
    )  # fmt: skip
    line, head = seal(facts_of(event), NOW, Head())
    assert json.loads(line) == {
        "seq": 1, "time": NOW, "kind": "decision", "call": "c1", "service": "embed",
        "node": "edge-1", "label": {"level": "sensitive", "categories": ["phi", "pii"]},
        "attempt": 1, "candidates": ["edge-1", "edge-2"], "refused": [["cloud-1", "privacy"]],
        "previous": GENESIS, "hash": head.hash,
    }  # fmt: skip


def test_a_lowered_label_is_named_also_where_it_is_public() -> None:
    facts = facts_of(Declassified(label=PII, target=PUBLIC, given=Digest("a" * 64)))
    assert facts["target"] == {"level": "public"}
    assert (facts["given"], facts["taken"]) == ("a" * 64, "")


names = st.text(max_size=250)
labels = st.builds(
    Label, st.sampled_from(Level), st.frozensets(st.text(min_size=1, max_size=9), max_size=3)
)
digests = st.sampled_from([Digest(), Digest("0" * 64), Digest("f" * 64)])
events = st.one_of(
    st.builds(Revealed, call=names, node=names, label=labels, reason=names, digest=digests),
    st.builds(
        Decided, service=names, label=labels, attempt=st.integers(1, 9),
        candidates=st.lists(names, max_size=3).map(tuple),
        refused=st.lists(st.tuples(names, names), max_size=3).map(tuple),
    ),
    st.builds(Declassified, service=names, label=labels, target=labels, given=digests),
    st.builds(Erased, store=names, digest=digests, count=st.integers(0, 2**60)),
    st.builds(Cut, count=st.integers(0, 2**60)),
)  # fmt: skip


@given(events, st.integers(0, 2**60))
def test_an_event_has_one_line_that_gives_it_back(event: Event, seq: int) -> None:
    before = Head(seq, "b" * 64)
    line, head = seal(facts_of(event), NOW, before)
    assert line.count(b"\n") == 1
    assert line.isascii()
    entry = unseal(line)
    assert (entry.head, entry.previous) == (head, before.hash)
    again = json.loads(canonical(entry.content))
    assert again == entry.content
    assert {key: again[key] for key in facts_of(event)} == json.loads(canonical(facts_of(event)))
    rest = {k: v for k, v in entry.content.items() if k not in ("previous", "seq", "time")}
    assert seal(rest, NOW, before)[0] == line


@given(events, events)
def test_different_events_have_different_lines(one: Event, other: Event) -> None:
    same = (type(one), one) == (type(other), other)
    alike = seal(facts_of(one), NOW, Head()) == seal(facts_of(other), NOW, Head())
    assert alike is same


@given(events, st.data())
def test_whatever_byte_of_a_line_is_changed_shows(event: Event, data: Any) -> None:
    line, _ = seal(facts_of(event), NOW, Head())
    place = data.draw(st.integers(0, len(line) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))
    spoiled = line[:place] + bytes([new]) + line[place + 1 :]
    with pytest.raises(Damaged):
        unseal(spoiled)
    unseal(line)  # the control


def test_fractions_have_no_place_in_a_chain() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"x": float("nan")})


def test_what_is_damaged_is_not_repeated() -> None:
    with pytest.raises(Damaged) as failed:
        unseal(b'{"canary":"abcd"}\n')
    assert "canary" not in str(failed.value)
