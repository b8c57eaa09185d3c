from hypothesis import given
from hypothesis import strategies as st

from policies.facts import CallFacts, Clearance, EndpointFacts, Label, Level, Placement
from policies.privacy import PrivacyFilter

levels = st.sampled_from(Level)
categories = st.frozensets(st.sampled_from(["pii", "phi", "pci"]))
labels = st.builds(Label, levels, categories)
clearances = st.builds(Clearance, levels, st.none() | categories)


def call(label: Label) -> CallFacts:
    return CallFacts("embed", "v1", label, Placement("cloud"), 100, 1000.0)


def endpoint(clearance: Clearance) -> EndpointFacts:
    return EndpointFacts("cloud-1", "cloud", clearance, version="v1")


@given(labels, clearances)
def test_refuses_exactly_what_the_clearance_does_not_cover(
    label: Label, clearance: Clearance
) -> None:
    refused = PrivacyFilter().refuse(call(label), endpoint(clearance)) is not None
    too_high = label.level > clearance.level
    foreign = clearance.categories is not None and not label.categories <= clearance.categories
    assert refused == (too_high or foreign)


def test_reason_names_label_and_clearance() -> None:
    label = Label(Level.SENSITIVE, frozenset({"pii"}))
    reason = PrivacyFilter().refuse(call(label), endpoint(Clearance(Level.INTERNAL)))
    assert reason == "label sensitive{pii} is above clearance internal"
