from typing import Annotated, Any, NotRequired

import numpy as np
import pytest
from pydantic import Field, ValidationError

from orchestrator.core.adapters import adapter_of
from orchestrator.core.errors import DefinitionError


def test_values_are_checked_by_name() -> None:
    adapter = adapter_of({"count": int, "name": str}, "shelf")
    assert adapter.validate_python({"count": 1, "name": "a"}) == {"count": 1, "name": "a"}
    with pytest.raises(ValidationError, match="count"):
        adapter.validate_python({"count": "one", "name": "a"})


@pytest.mark.parametrize("values", [{}, {"count": 1, "colour": "red"}])
def test_nothing_may_be_missing_and_nothing_more_given(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        adapter_of({"count": int}, "shelf").validate_python(values)


def test_what_is_not_required_may_be_left_out() -> None:
    adapter = adapter_of({"count": NotRequired[int]}, "shelf")
    assert adapter.validate_python({}) == {}


def test_types_that_pydantic_does_not_know_are_checked_by_instance() -> None:
    adapter = adapter_of({"array": np.ndarray}, "shelf")
    array = np.zeros(2)
    assert adapter.validate_python({"array": array})["array"] is array
    with pytest.raises(ValidationError):
        adapter.validate_python({"array": [0.0, 0.0]})


@pytest.mark.parametrize("annotation", [Annotated[int, Field(discriminator="kind")]])
def test_an_annotation_that_cannot_be_checked_names_its_owner(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match="shelf: an annotation cannot be checked") as caught:
        adapter_of({"count": annotation}, "shelf")
    assert "\n" not in str(caught.value)
