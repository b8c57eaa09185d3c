"""Reading annotations: which types may travel, what pydantic checks, where labels may hide."""

import dataclasses
import enum
import types
from collections import abc
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

import numpy as np
from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict, is_typeddict

from orchestrator.core.codecs import codec_of
from orchestrator.core.errors import DefinitionError
from orchestrator.core.fieldrules import checks_fields
from orchestrator.core.labels import ARRAY_RULE, Labelled
from orchestrator.core.model import Array
from policies.facts import Level

_LEAVES = (bool, int, float, str, bytes, datetime, date, time, timedelta, UUID, Decimal)
_LISTS = (list, set, frozenset, tuple, abc.Sequence)
_MAPPINGS = (dict, abc.Mapping)
_HINT = (
    "a service takes and gives None, bool, numbers, str, bytes, numpy arrays, list, tuple, set, "
    "dict, dataclasses, pydantic models and labelled values; register_codec adds a type"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What an annotation says.

    Attributes:
        text: Its canonical text, in which two equal types read alike.
        schema: The annotation that pydantic checks: the same, with rules for arrays.
        form: How its values look on the wire; two members of a union must differ in it.
        labelled: Whether a labelled value may stand anywhere inside.
        sealed: Whether every part lies in an envelope, so that nothing in it is plain.
        level, highest: The highest level it declares, and takes: `Labelled` declares none.
        arrays: Whether an array may stand anywhere inside.
    """

    text: str
    schema: Any
    form: str
    labelled: bool = False
    sealed: bool = False
    level: Level = Level.PUBLIC
    highest: Level = Level.PUBLIC
    arrays: bool = False


def read(annotation: Any, where: str, inside: tuple[type, ...] = ()) -> Reading:
    """Read a resolved annotation.

    Args:
        annotation: The annotation.
        where: What is annotated, for the error.
        inside: The classes being read, so that recursive ones end.

    Raises:
        DefinitionError: It names a type that cannot travel, or no type at all.
    """
    if annotation is None or annotation is type(None):
        return Reading("None", None, "none", sealed=True)
    if annotation is np.ndarray:
        return _read_array(annotation, where)
    if annotation in _LEAVES or codec_of(annotation):
        return Reading(annotation.__name__, annotation, annotation.__name__)
    if isinstance(annotation, NewType):
        return read(annotation.__supertype__, where, inside)
    if alias := getattr(annotation, "__value__", None):  # a `type` statement
        return read(alias, where, inside)
    if get_origin(annotation) is not None:
        return _read_generic(annotation, where, inside)
    if isinstance(annotation, type) and annotation is not object:
        return _read_class(annotation, where, inside)
    raise DefinitionError(f"{where} is annotated {annotation!r}, which names no one type: {_HINT}")


def _read_generic(annotation: Any, where: str, inside: tuple[type, ...]) -> Reading:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return Reading(f"Literal[{', '.join(map(repr, arguments))}]", annotation, "literal")
    if origin is np.ndarray:
        return _read_array(annotation, where)
    if origin in (Required, NotRequired):
        return read(arguments[0], where, inside)
    if origin is Annotated:
        return _read_annotated(annotation, where, inside)
    parts = [read(part, where, inside) for part in arguments if part is not ...]
    if origin in (Union, types.UnionType):
        _check_union(parts, where)
        return _read_union(parts)
    if isinstance(origin, type) and issubclass(origin, Labelled):
        return _read_envelope(origin, parts[0], where)
    if origin not in (*_LISTS, *_MAPPINGS):
        raise DefinitionError(f"{where} is annotated {annotation!r}, which cannot travel: {_HINT}")
    if not parts:
        raise DefinitionError(_alone(where, origin))
    if origin in _MAPPINGS and parts[0].text not in ("str", "int"):
        raise DefinitionError(f"{where} has keys of type {parts[0].text}: use str or int")
    more = ... in arguments
    schemas = tuple(part.schema for part in parts) + ((...,) if more else ())
    texts = [part.text for part in parts] + (["..."] if more else [])
    form = "object" if origin in _MAPPINGS else "array"
    text = f"{origin.__name__}[{', '.join(texts)}]"
    return _joined(text, _of(origin, schemas), form, parts)


def _read_annotated(annotation: Any, where: str, inside: tuple[type, ...]) -> Reading:
    base, told = get_args(annotation)[0], annotation.__metadata__
    if any(getattr(part, "discriminator", None) for part in told):
        # A discriminated union tells its members apart by itself.
        parts = [read(part, where, inside) for part in get_args(base)]
        inner = _read_union(parts)
    else:
        inner = read(base, where, inside)
    return dataclasses.replace(inner, schema=_of(Annotated, (inner.schema, *told)))


def _read_union(parts: list[Reading]) -> Reading:
    text = " | ".join(sorted((part.text for part in parts), key=lambda t: (t == "None", t)))
    return _joined(text, _of(Union, tuple(part.schema for part in parts)), "union", parts)


def _of(generic: Any, arguments: Any) -> Any:
    return generic[arguments]


def _read_envelope(envelope: type[Labelled[Any]], content: Reading, where: str) -> Reading:
    if content.form == "envelope":
        raise DefinitionError(f"{where} is an envelope in an envelope: the higher one is enough")
    level = content.level if envelope is Labelled else max(content.level, envelope.level)
    return Reading(
        f"{envelope.__name__}[{content.text}]",
        _of(envelope, content.schema),
        "envelope",
        labelled=True,
        sealed=True,
        level=level,
        highest=max(content.highest, envelope.level),
        arrays=content.arrays,
    )


def _joined(text: str, schema: Any, form: str, parts: Collection[Reading]) -> Reading:
    return Reading(
        text,
        schema,
        form,
        labelled=any(part.labelled for part in parts),
        sealed=all(part.sealed for part in parts),
        level=max((part.level for part in parts), default=Level.PUBLIC),
        highest=max((part.highest for part in parts), default=Level.PUBLIC),
        arrays=any(part.arrays for part in parts),
    )


def _check_union(parts: list[Reading], where: str) -> None:
    forms = [part.form for part in parts if part.form not in ("envelope", "literal", "union")]
    if alike := {form for form in forms if forms.count(form) > 1}:
        names = " and ".join(part.text.partition("(")[0] for part in parts if part.form in alike)
        raise DefinitionError(
            f"{where}: {names} look alike on the wire, so one could arrive as the other; give "
            "them a common field of different Literals and Annotated[..., Field(discriminator=)]"
        )


def _read_class(annotation: type, where: str, inside: tuple[type, ...]) -> Reading:
    if annotation in inside:
        return Reading(annotation.__name__, annotation, "object")
    if annotation in (*_LISTS, *_MAPPINGS) or issubclass(annotation, Labelled):
        raise DefinitionError(_alone(where, annotation))
    if issubclass(annotation, enum.Enum):
        return _read_enum(annotation)
    fields = _fields(annotation, where)
    parts = {
        name: read(
            part, f"{where}, field {name!r} of {annotation.__name__},", (*inside, annotation)
        )
        for name, part in fields.items()
    }
    text = ", ".join(f"{name}: {part.text}" for name, part in parts.items())
    form = "array" if _is_named_tuple(annotation) else "object"
    reading = _joined(f"{annotation.__name__}({text})", annotation, form, parts.values())
    if is_typeddict(annotation):
        reading = dataclasses.replace(reading, schema=_typed_dict(annotation, parts))
    else:
        whole = dataclasses.is_dataclass(annotation)
        rules = {name: part.schema for name, part in parts.items() if whole or part.arrays}
        arrays = frozenset(name for name, part in parts.items() if part.arrays)
        reading = dataclasses.replace(reading, schema=checks_fields(annotation, rules, arrays))
    return reading


def _typed_dict(annotation: Any, parts: Mapping[str, Reading]) -> Any:
    """Return the same TypedDict with rules for arrays, in the spelling pydantic takes anywhere."""
    needed = annotation.__required_keys__
    schemas = {n: p.schema if n in needed else _of(NotRequired, p.schema) for n, p in parts.items()}
    return cast(Callable[..., Any], TypedDict)(annotation.__name__, schemas)


def _read_enum(annotation: type[enum.Enum]) -> Reading:
    members = ", ".join(f"{member.name}={member.value!r}" for member in annotation)
    values = {type(member.value).__name__ for member in annotation}
    form = values.pop() if len(values) == 1 else "literal"
    return Reading(f"{annotation.__name__}[{members}]", annotation, form)


def _fields(annotation: type, where: str) -> Mapping[str, Any]:
    if issubclass(annotation, BaseModel):
        if annotation.model_config.get("extra") == "allow":
            raise DefinitionError(
                f"{where} is {annotation.__name__}, which takes any extra field: forbid it"
            )
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    if not (is_typeddict(annotation) or dataclasses.is_dataclass(annotation)) and not (
        _is_named_tuple(annotation)
    ):
        name = annotation.__name__
        raise DefinitionError(f"{where} is annotated {name}, which cannot travel: {_HINT}")
    hints = resolved(annotation, where)
    if dataclasses.is_dataclass(annotation):
        return {field.name: hints[field.name] for field in dataclasses.fields(annotation)}
    return hints


def resolved(annotated: Any, where: str) -> dict[str, Any]:
    """Return the annotations of a function or a class, with names looked up.

    Raises:
        DefinitionError: One of them does not resolve.
    """
    try:
        return get_type_hints(annotated, include_extras=True)
    except Exception as error:  # names, attributes, syntax: whatever stands in the annotation
        raise DefinitionError(
            f"{where}: {error} where it is declared; declare that type above the service, at the "
            "top level of a module"
        ) from error


def _is_named_tuple(annotation: type) -> bool:
    return issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def _alone(where: str, kind: type) -> str:
    name, inside = kind.__name__, "str, int" if kind in _MAPPINGS else "str"
    return f"{where} is annotated {name} alone: say what it holds, {name}[{inside}]"


def _read_array(annotation: Any, where: str) -> Reading:
    shape, dtype = (*get_args(annotation), None, None)[:2]
    element = (*get_args(dtype), None)[0]
    element = get_origin(element) if isinstance(get_origin(element), type) else element
    if element in (Any, np.generic) or isinstance(element, TypeVar):
        element = None
    if element is not None and not (isinstance(element, type) and issubclass(element, np.generic)):
        raise DefinitionError(f"{where} is an array of {element}: name one element type, or none")
    axes = None if ... in get_args(shape) else len(get_args(shape)) or None
    text = f"ndarray[{element.__name__ if element else 'any'}, {axes or 'any'}]"
    schema = Annotated[np.ndarray, AfterValidator(_array_rule(element, axes))]
    return Reading(text, schema, "tensor", arrays=True)


def _array_rule(element: type[np.generic] | None, axes: int | None) -> Callable[[Array], Array]:
    def problem(value: Array) -> str | None:
        if value.dtype.kind not in "biufc":
            return f"an array of {value.dtype} cannot travel: use numbers or bool"
        if element is not None and not np.issubdtype(np.dtype(value.dtype.str), element):
            return f"the array is {value.dtype}, not {element.__name__}: use .astype"
        if axes is not None and value.ndim != axes:
            return f"the array has {value.ndim} axes, not {axes}: use .reshape"
        return None

    def check(value: Array) -> Array:
        if said := problem(value):
            raise PydanticCustomError(ARRAY_RULE, said)
        return value

    return check
