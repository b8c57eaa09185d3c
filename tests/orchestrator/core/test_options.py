from typing import Any

import pytest

from orchestrator.core.errors import DefinitionError
from orchestrator.core.options import Options
from orchestrator.models.text import TextEmbedding
from policies.facts import Placement


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"declassifies": "no"}, "declassifies= takes True or False, not str"),
        ({"idempotent": "no"}, "idempotent= takes True or False, not str"),
        ({"idempotent": 0}, "idempotent= takes True or False, not int"),
        ({"inline": "no"}, "inline= takes True or False, not str"),
        ({"inline": None}, "inline= takes True or False, not NoneType"),
        ({"deadline": True}, 'deadline= takes seconds or text like "300ms", not bool'),
        ({"name": 3}, "name= takes text, not int"),
    ],
)
def test_an_option_of_another_type_is_named_with_what_it_takes(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        Options(**given)
    assert str(caught.value) == said


@pytest.mark.parametrize("given", [{"idempotent": None}, {"idempotent": False}, {"inline": True}])
def test_an_option_of_its_type_is_taken(given: dict[str, Any]) -> None:
    ((option, value),) = given.items()
    assert getattr(Options(**given), option) is value


def test_models_may_be_any_iterable_and_are_kept_as_a_tuple() -> None:
    minilm = TextEmbedding("minilm")
    assert Options(models=iter([minilm])).models == (minilm,)


def test_the_other_tier_is_named_once_or_not_at_all() -> None:
    assert Options().placement("edge") == Placement("edge", "home")
    assert Options(fallback="edge").placement("cloud") == Placement("cloud", "fallback")
    with pytest.raises(DefinitionError, match="choose one"):
        Options(overflow="edge", fallback="edge").placement("cloud")


@pytest.mark.parametrize("tier", ["", False, 3, "moon"])
@pytest.mark.parametrize("option", ["overflow", "fallback"])
def test_what_is_no_tier_is_refused_even_if_it_is_empty(option: str, tier: Any) -> None:
    given: dict[str, Any] = {option: tier}
    with pytest.raises(DefinitionError, match="there is no tier"):
        Options(**given).placement("edge")
