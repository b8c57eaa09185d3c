from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings.values import parse_clearance
from policies.facts import Clearance, Level


@pytest.mark.parametrize("spelling", ["secret", "SECRET", "Secret", {"level": "secret"}])
def test_a_level_alone_covers_all_categories(spelling: Any) -> None:
    assert parse_clearance(spelling) == Clearance(Level.SECRET, None)


@pytest.mark.parametrize(
    "spelling",
    [
        "internal:phi,pii",
        {"level": "internal", "categories": ["pii", "phi"]},
        {"level": "INTERNAL", "categories": ("phi", "pii")},
        Clearance(Level.INTERNAL, frozenset({"phi", "pii"})),
    ],
)
def test_categories_that_are_named_are_the_only_ones(spelling: Any) -> None:
    assert parse_clearance(spelling) == Clearance(Level.INTERNAL, frozenset({"phi", "pii"}))


def test_an_empty_list_of_categories_lets_none_pass() -> None:
    clearance = parse_clearance({"level": "internal", "categories": []})
    assert clearance == Clearance(Level.INTERNAL, frozenset())


@pytest.mark.parametrize(
    "spelling",
    ["", "top", 3, True, None, ["secret"], {"level": "secret", "cat": 1}, {}, {"level": 2}],
)
def test_what_is_no_clearance_is_refused_with_what_is_known(spelling: Any) -> None:
    with pytest.raises(ValueError, match="public, internal, sensitive, secret"):
        parse_clearance(spelling)


@given(st.sampled_from(Level), st.none() | st.frozensets(st.sampled_from(["phi", "pii", "pci"])))
def test_every_clearance_can_be_written_as_a_mapping(
    level: Level, categories: frozenset[str] | None
) -> None:
    written: dict[str, Any] = {"level": level.name.lower()}
    if categories is not None:
        written["categories"] = sorted(categories)
    assert parse_clearance(written) == Clearance(level, categories)


@pytest.mark.parametrize("spelling", ["internal:", {"level": "internal", "categories": None}])
def test_categories_that_were_forgotten_do_not_let_all_pass(spelling: Any) -> None:
    try:
        clearance = parse_clearance(spelling)
    except ValueError:
        return
    assert clearance.categories == frozenset()


@pytest.mark.parametrize("spelling", ["internal: phi", {"level": "internal", "categories": "phi"}])
def test_a_single_category_may_be_written_as_people_do(spelling: Any) -> None:
    assert parse_clearance(spelling) == Clearance(Level.INTERNAL, frozenset({"phi"}))
