"""Envelopes as JSON and back, by a short way for the usual ones: around flat values."""

from functools import lru_cache
from typing import Any

from orchestrator.core.errors import PrivacyRefused
from orchestrator.core.labels import ENVELOPES, Labelled, sealed, sealed_value
from policies.facts import PUBLIC, Label, Level

_SCALARS: frozenset[type] = frozenset({str, float, bool, int, type(None)})
_LEVELS = tuple(level.name.lower() for level in Level)


def mark_of(label: Label) -> tuple[str, list[str]]:
    """Return what stands for a label."""
    return _LEVELS[label.level], sorted(label.categories)


def envelope_of(mark: Any, value: Any) -> Labelled[Any]:
    """Return a value in the envelope that a mark names.

    Raises:
        PrivacyRefused: It names none, or the value has a label already.
    """
    try:
        level, categories = mark
        kind, label = _kind_of(level, tuple(categories))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise PrivacyRefused("a value has an unknown label", shareable=True) from None
    if isinstance(value, Labelled):
        raise PrivacyRefused("a value has two labels", shareable=True)
    return sealed(kind, value, label)


@lru_cache(256)
def _kind_of(level: str, categories: tuple[str, ...]) -> tuple[type[Labelled[Any]], Label]:
    kind = ENVELOPES[Level[level.upper()]]
    if not all(isinstance(category, str) for category in categories):
        raise TypeError("a category is a name")
    return kind, Label(kind.level, frozenset(categories))


def plain_flat(value: Any) -> tuple[Any, Label] | None:
    """Return a value as JSON, and its label, if it is an envelope or one level of them.

    None if what is in it has any depth; most labelled arguments and results have none.
    """
    if isinstance(value, Labelled):
        if not _is_flat(content := sealed_value(value)):
            return None
        return {"$label": mark_of(value.label), "$value": content}, value.label
    if type(value) is not dict:
        return None
    label, plain = PUBLIC, {}
    for key, part in value.items():
        if type(key) is not str or key[:1] == "$":
            return None
        if isinstance(part, Labelled):
            if not _is_flat(content := sealed_value(part)):
                return None
            label = label.join(part.label)
            part = {"$label": mark_of(part.label), "$value": content}
        elif type(part) not in _SCALARS:
            return None
        plain[key] = part
    return plain, label


def opened_flat(body: Any) -> Any:
    """Return JSON with the envelopes in it around scalars; None if it holds anything else."""
    if type(body) is not dict:
        return None
    if _is_envelope(body):
        return envelope_of(body["$label"], body["$value"])
    for key, part in body.items():
        if key[:1] == "$":
            return None
        if type(part) is dict and _is_envelope(part):
            body[key] = envelope_of(part["$label"], part["$value"])
        elif type(part) not in _SCALARS:
            return None
    return body


def _is_envelope(body: dict[str, Any]) -> bool:
    """Say whether a JSON object stands for an envelope around a scalar."""
    return (
        len(body) == 2
        and "$label" in body
        and "$value" in body
        and type(body["$value"]) in _SCALARS
    )


def _is_flat(value: Any) -> bool:
    kind = type(value)
    return kind in _SCALARS or (kind is list and _SCALARS.issuperset(map(type, value)))
