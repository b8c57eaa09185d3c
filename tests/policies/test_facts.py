import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.catalog import build_chain
from policies.chain import Chain
from policies.facts import (
    PUBLIC,
    CallFacts,
    Clearance,
    Decision,
    EndpointFacts,
    Label,
    Level,
    Placement,
    Tier,
)

levels = st.sampled_from(Level)
categories = st.frozensets(st.sampled_from(["pii", "phi", "pci"]))
labels = st.builds(Label, levels, categories)
clearances = st.builds(Clearance, levels, st.none() | categories)
times = st.floats(0, 1e6)
endpoints = st.builds(
    EndpointFacts,
    name=st.sampled_from(["edge-1", "a much longer name", "e"]),
    tier=st.just("edge"),
    clearance=st.just(Clearance(Level.SECRET)),
    version=st.just("v1"),
    in_flight=st.integers(0, 100),
    round_trip_ms=times,
    service_ms=times,
    dollars_per_hour=st.floats(0, 1e4),
)

CALL = CallFacts(
    "embed", "v1", Label(Level.SENSITIVE, frozenset({"pii"})), Placement("edge"), 1000, 300.0
)
EDGE = EndpointFacts("edge-1", "edge", Clearance(Level.SECRET), version="v1")
CLOUD = EndpointFacts("cloud-1", "cloud", Clearance(Level.INTERNAL), version="v1")
BOTH = replace(CALL, placement=Placement("edge", "overflow"))


class Noise:
    """A scorer whose term bears the name of another one's."""

    name = "noise"

    def cost(self, call: CallFacts, endpoint: EndpointFacts) -> float:
        return 7.0

    def terms(self, call: CallFacts, endpoint: EndpointFacts) -> Mapping[str, float]:
        return {"service": 7.0}


def decide(call: CallFacts, *nodes: EndpointFacts) -> Decision:
    return build_chain().decide(call, nodes)


def sums(table: str) -> list[tuple[float, list[float]]]:
    """Read the rows of an explained decision: each total, and the terms it is made of."""
    rows = re.findall(r"^ +\d+\. .* (\S+) = (.*)$", table, re.MULTILINE)
    return [(float(total), [float(t) for t in terms.split("+")]) for total, terms in rows]


@given(labels, labels, labels)
def test_the_join_is_the_least_label_that_covers_both(a: Label, b: Label, c: Label) -> None:
    joined = a.join(b)
    assert joined.covers(a)
    assert joined.covers(b)
    assert not (c.covers(a) and c.covers(b)) or c.covers(joined)


@given(labels, labels, labels)
def test_labels_join_in_any_order(a: Label, b: Label, c: Label) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a
    assert a.join(PUBLIC) == a


@given(labels, labels)
def test_labels_that_cover_each_other_are_one(a: Label, b: Label) -> None:
    assert (a.covers(b) and b.covers(a)) == (a == b)


@given(clearances, labels, labels)
def test_a_clearance_covers_data_with_all_that_it_was_joined_from(
    clearance: Clearance, a: Label, b: Label
) -> None:
    assert clearance.covers(a.join(b)) == (clearance.covers(a) and clearance.covers(b))


@given(clearances, clearances, labels)
def test_what_must_pass_two_clearances_passes_their_meet(
    a: Clearance, b: Clearance, label: Label
) -> None:
    assert a.meet(b).covers(label) == (a.covers(label) and b.covers(label))


def test_a_clearance_for_some_categories_refuses_the_others() -> None:
    clearance = Clearance(Level.SECRET, frozenset({"phi"}))
    assert clearance.covers(Label(Level.SENSITIVE, frozenset({"phi"})))
    assert not clearance.covers(Label(Level.INTERNAL, frozenset({"pii"})))
    assert Clearance(Level.SECRET).covers(Label(Level.INTERNAL, frozenset({"pii"})))


def test_a_label_reads_the_same_whatever_the_order_of_its_categories() -> None:
    assert str(Label(Level.SENSITIVE, frozenset({"pii", "pci", "phi"}))) == (
        "sensitive{pci, phi, pii}"
    )
    assert str(PUBLIC) == "public"
    assert str(Clearance(Level.INTERNAL, frozenset({"phi"}))) == "internal{phi}"


def test_a_clearance_for_no_category_reads_differently_from_one_for_all() -> None:
    assert str(Clearance(Level.INTERNAL, frozenset())) != str(Clearance(Level.INTERNAL))


@pytest.mark.parametrize(
    ("placement", "allowed", "preferred", "words"),
    [
        (Placement("edge"), {"edge"}, {"edge"}, "edge"),
        (Placement("cloud", "overflow"), {"edge", "cloud"}, {"edge", "cloud"}, "overflow to edge"),
        (Placement("edge", "fallback"), {"edge", "cloud"}, {"edge"}, "fallback to cloud"),
    ],
)
def test_overflow_prefers_both_tiers_and_fallback_only_its_home(
    placement: Placement, allowed: set[Tier], preferred: set[Tier], words: str
) -> None:
    tiers: tuple[Tier, ...] = ("edge", "cloud")
    assert {tier for tier in tiers if placement.allows(tier)} == allowed
    assert {tier for tier in tiers if placement.prefers(tier)} == preferred
    assert words in str(placement)


def test_privacy_is_to_blame_when_it_refused_every_node_the_call_may_use() -> None:
    low = replace(EDGE, clearance=Clearance(Level.INTERNAL))
    assert decide(CALL, low).refused_by_privacy
    assert decide(CALL, low, CLOUD).refused_by_privacy
    assert decide(CALL, replace(low, ready=False, reason="gone")).refused_by_privacy


def test_privacy_is_not_to_blame_while_a_repaired_node_could_take_the_call() -> None:
    gone = replace(EDGE, name="edge-2", ready=False, reason="gone")
    low = replace(EDGE, clearance=Clearance(Level.INTERNAL))
    assert not decide(CALL, low, gone).refused_by_privacy
    assert not decide(CALL).refused_by_privacy
    assert not decide(CALL, CLOUD).refused_by_privacy
    assert not decide(BOTH, EDGE, CLOUD).refused_by_privacy


def test_explain_shows_terms_fallback_and_refusals() -> None:
    call = replace(CALL, label=PUBLIC, placement=Placement("edge", "fallback"))
    busy = replace(EDGE, service_ms=8.0, round_trip_ms=0.5, in_flight=2)
    gone = replace(CLOUD, name="cloud-2", ready=False, reason="silent for 2 s")
    lines = decide(call, busy, replace(CLOUD, service_ms=2.0), gone).explain().splitlines()
    assert lines[0] == (
        "embed: label public, 1,000 bytes, 300 ms left, placed on edge, fallback to cloud"
    )
    assert " ".join(lines[1].split()) == (
        "endpoint tier total ms round trip transfer queue service cost"
    )
    assert lines[2].split()[:4] == ["1.", "edge-1", "edge", "24.51"]
    assert lines[3] == "  fallback"
    assert lines[4].split()[:4] == ["2.", "cloud-1", "cloud", "2.01"]
    assert lines[6] == "     cloud-2 (cloud) by availability: not ready: silent for 2 s"


def test_explain_says_when_no_endpoint_passed() -> None:
    said = decide(CALL, CLOUD).explain()
    assert "no endpoint passed the filters" in said
    assert "cloud-1 (cloud) by tier: the call stays on the edge" in said


@given(st.lists(endpoints, min_size=1, max_size=4))
def test_the_sums_that_explain_shows_can_be_checked_by_hand(nodes: list[EndpointFacts]) -> None:
    decision = decide(replace(CALL, remaining_ms=1e12), *nodes)
    rows = sums(decision.explain())
    assert len(rows) == len(nodes)
    for total, terms in rows:
        assert total == pytest.approx(sum(terms), abs=0.01 * len(terms))


def test_two_scorers_with_a_term_of_one_name_still_add_up() -> None:
    scorers = (*build_chain().scorers, Noise())
    decision = Chain([], scorers).decide(CALL, [replace(EDGE, service_ms=8.0)])
    [(total, terms)] = sums(decision.explain())
    assert total == pytest.approx(sum(terms), abs=0.1)


def test_nobody_can_add_a_candidate_to_a_decision() -> None:
    decision = decide(CALL, CLOUD)
    assert decision.candidates == ()
    with pytest.raises(FrozenInstanceError):
        decision.candidates = decide(BOTH, EDGE).candidates  # type: ignore[misc]
