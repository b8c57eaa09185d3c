"""pydantic adapters for values by name, with the library's own configuration."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from typing_extensions import TypedDict

from orchestrator.core.errors import DefinitionError

Adapter = TypeAdapter[dict[str, Any]]

_CONFIG = ConfigDict(arbitrary_types_allowed=True, extra="forbid")


def adapter_of(fields: Mapping[str, Any], whose: str) -> Adapter:
    """Return an adapter that checks values by name.

    Args:
        fields: Name to annotation; NotRequired marks what may be left out.
        whose: What the values belong to, for the error.

    Raises:
        DefinitionError: pydantic cannot check one of the annotations.
    """
    kind = cast(Callable[..., Any], TypedDict)("Values", dict(fields))
    kind.__pydantic_config__ = _CONFIG
    try:
        return TypeAdapter(kind)
    except (PydanticUserError, TypeError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise DefinitionError(f"{whose}: an annotation cannot be checked: {first}") from error
