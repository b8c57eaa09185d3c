"""What settings of any side are made of: sections and clearances, as people write them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from policies.facts import Clearance, Level


def parse_clearance(value: Any) -> Clearance:
    """Return a clearance as people write it.

    Args:
        value: "secret", "internal:phi,pii", or {level: internal, categories: [phi]}.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, Clearance):
        return value
    if isinstance(value, str):
        level, colon, names = value.partition(":")
        value = {"level": level, **({"categories": names.split(",")} if colon else {})}
    known = ", ".join(level.name.lower() for level in Level)
    if not isinstance(value, Mapping) or value.keys() - {"level", "categories"}:
        raise ValueError(f"a clearance is one of {known}, or has a level and categories")
    name = str(value.get("level", "")).strip().upper()
    if name not in Level.__members__:
        raise ValueError(f"unknown level {name.lower()!r}: known are {known}")
    return Clearance(
        Level[name], _categories(value["categories"]) if "categories" in value else None
    )


def _categories(given: Any) -> frozenset[str]:
    """Return categories; what was meant to name some and names none must not cover all."""
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ValueError("the categories of a clearance are a list of names")
    names = [name.strip() if isinstance(name, str) else "" for name in listed]
    if not all(names):
        raise ValueError(
            "the categories of a clearance are names; leave the key out for all of them"
        )
    return frozenset(names)


ClearanceSetting = Annotated[
    Clearance, BeforeValidator(parse_clearance), PlainSerializer(str, when_used="json")
]


SharedMemoryMib = Annotated[int, Field(ge=0, le=1024)]
"""What one end of a session may have in memory shared with the other; 0 shares none."""


class Section(BaseModel):
    """A part of the settings: frozen, and an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
