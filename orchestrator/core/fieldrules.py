"""Rules for the fields of dataclasses and models that pydantic leaves unchecked in instances."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from orchestrator.core.adapters import Adapter, adapter_of

STRICT = {"strict": True}
"""The validation context of values that this process made itself."""


def checks_fields(kind: type, rules: Mapping[str, Any], arrays: frozenset[str]) -> Any:
    """Return the annotation of a class whose instances have their fields checked, too.

    pydantic takes an instance of a dataclass as it is, and knows nothing of arrays. What this
    process made is checked field by field; what came over a channel was built by pydantic, so
    that only its arrays are left to check.

    Args:
        kind: The class.
        rules: Field name to annotation.
        arrays: The fields with arrays inside.
    """
    if not rules:
        return kind

    @functools.cache
    def adapter(names: frozenset[str]) -> Adapter:
        """Return what checks some of the fields."""
        return adapter_of({name: rules[name] for name in names}, kind.__name__)

    def check(value: Any, info: ValidationInfo) -> Any:
        """Return the instance, or raise the first problem of a field."""
        names = frozenset(rules) if info.context else arrays
        fields = {name: getattr(value, name) for name in names}
        try:
            adapter(names).validate_python(fields, strict=True, context=info.context)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            said = first["msg"].removeprefix("Value error, ")
            raise PydanticCustomError(first["type"], f"field {where}: {said}") from None
        return value

    return Annotated[kind, AfterValidator(check)]
