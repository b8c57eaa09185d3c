from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import AfterValidator, TypeAdapter, ValidationError

from orchestrator.core.fieldrules import STRICT, checks_fields


@dataclass
class Box:
    width: int
    weights: Any


def flat(array: Any) -> Any:
    """Refuse an array of more than one axis."""
    if array.ndim != 1:
        raise ValueError("{one} axis")
    return array


RULES = {"width": int, "weights": Annotated[np.ndarray, AfterValidator(flat)]}
BOX: TypeAdapter[Box] = TypeAdapter(checks_fields(Box, RULES, frozenset({"weights"})))


def checked(box: Box, *, own: bool) -> Box:
    return BOX.validate_python(box, strict=own, context=STRICT if own else None)


def wrong(kind: Any) -> Any:
    """Give a value where the annotation wants another."""
    return kind


def test_a_class_without_rules_stays_as_it_is() -> None:
    assert checks_fields(Box, {}, frozenset()) is Box


@pytest.mark.parametrize("own", [True, False])
def test_an_instance_that_keeps_the_rules_passes_as_it_is(own: bool) -> None:
    box = Box(1, np.zeros(2))
    assert checked(box, own=own) is box


def test_every_field_of_what_this_process_made_is_checked() -> None:
    with pytest.raises(ValidationError, match="field width: Input should be a valid integer"):
        checked(Box(wrong("one"), np.zeros(2)), own=True)


def test_only_arrays_are_checked_of_what_pydantic_built() -> None:
    assert checked(Box(wrong("one"), np.zeros(2)), own=False).width == wrong("one")
    with pytest.raises(ValidationError, match="field weights"):
        checked(Box(1, np.zeros((2, 2))), own=False)


def test_braces_in_a_problem_stay_as_they_are() -> None:
    with pytest.raises(ValidationError, match=r"field weights: \{one\} axis"):
        checked(Box(1, np.zeros((2, 2))), own=True)
