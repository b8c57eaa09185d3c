"""Labels as types: envelopes that carry how private their value is.

An envelope is not its value: a subclass of str would lose its label in most string
operations. The levels form a chain of classes, so that a parameter's type says "at most
this level". Only `wire/` may serialise an envelope.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, cast, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from orchestrator.core.audit import Revealed, keep
from orchestrator.core.errors import PrivacyRefused, UsageError
from orchestrator.core.opened import audit_here, who_forbids_reveal
from orchestrator.core.running import body_here, running
from policies.facts import PUBLIC, Label, Level

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

ARRAY_RULE = "array_rule"
"""The kind of pydantic error that speaks of an array's type and shape, never of its content."""

_NO_BODY = (
    ".value opens inside a service's body only; here use .reveal(reason), which is written to the "
    "audit log"
)
_LOST = (
    "this thread has lost the body it works for, and .value opens inside a body only: open the "
    "value before, or start the thread with asyncio.to_thread"
)

_TWICE = "the value is labelled already; use with_value to replace its content"
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
"""The types that cannot hold an envelope; most values are of one of them."""

_set = object.__setattr__


class Labelled(Generic[T_co]):
    """A value that may not go just anywhere; as a type it takes any level.

    Made directly it counts as secret. Prefer `Internal`, `Sensitive` and `Secret`.

    Args:
        value: What is protected.
        categories: What kind of data it is, such as "pii" or "phi".

    Attributes:
        label: The level and the categories.
    """

    __slots__ = ("_value", "label")

    level: ClassVar[Level] = Level.SECRET
    label: Label
    _value: T_co

    def __init__(self, value: T_co, *categories: str) -> None:
        if isinstance(value, Labelled):
            raise UsageError(_TWICE)
        _set(self, "_value", value)
        _set(self, "label", Label(self.level, frozenset(categories)))

    @property
    def categories(self) -> frozenset[str]:
        """What kind of data it is."""
        return self.label.categories

    @property
    def value(self) -> T_co:
        """The protected value, inside a body on a node whose clearance allows it.

        Raises:
            PrivacyRefused: Elsewhere; use `reveal` and give a reason.
        """
        here = body_here()
        if here is None:
            raise PrivacyRefused(_NO_BODY if running() is None else _LOST)
        if not here.node.clearance.covers(self.label):
            raise PrivacyRefused(
                f"label {self.label} is above clearance {here.node.clearance} of this node"
            )
        here.note_opened(self.label)
        return self._value

    def reveal(self, reason: str) -> T_co:
        """Return the protected value anywhere; the reason is written to the audit log.

        Where the log is kept on disk, it is there before the value is returned, which takes
        some milliseconds. In a body it raises the floor, as `value` does.

        Args:
            reason: Why, on one line; it is cut after 200 characters.

        Raises:
            AuditUnavailable: The reason cannot be written down.
            PrivacyRefused: The settings of the node or of an open orchestrator forbid it.
        """
        given: object = reason
        if not isinstance(given, str) or not given.strip():
            raise UsageError("reveal asks for a reason, which is written to the audit log")
        if who := who_forbids_reveal():
            raise PrivacyRefused(f"{who} forbid .reveal; open the value in a body, with .value")
        here, audit = running(), audit_here()
        node, digest = here.node.name if here else "", audit.digest(self._value)
        keep(audit, Revealed(label=self.label, node=node, reason=reason, digest=digest))
        if body := body_here():
            body.note_opened(self.label)
        return self._value

    def with_value(self, value: U) -> "Labelled[U]":
        """Return another value under the same label."""
        if isinstance(value, Labelled):
            raise UsageError(_TWICE)
        return cast("Labelled[U]", sealed(type(self), value, self.label))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a labelled value cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a labelled value cannot be changed: {name}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(****)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a labelled value cannot be pickled; only the wire may carry it")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a labelled value cannot be pickled; only the wire may carry it")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler.generate_schema(get_args(source)[0]) if get_args(source) else None
        return core_schema.no_info_wrap_validator_function(
            cls._checked,
            inner or core_schema.any_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(_unserialisable),
        )

    @classmethod
    def _checked(cls, value: Any, check: Callable[[Any], Any]) -> "Labelled[Any]":
        if not isinstance(value, Labelled):
            return cls(check(value))  # raising a label is always safe
        if not isinstance(value, cls):
            raise PydanticCustomError("label_too_high", "the label is above the declared level")
        try:
            content = check(value._value)
        except ValidationError as error:
            # pydantic would show the private value: only the kind of the problem may pass.
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            said = first["msg"] if first["type"] == ARRAY_RULE else "the content does not fit"
            raise PydanticCustomError(first["type"], said, {"content": True}) from None
        return value if content is value._value else value.with_value(content)


# The chain: what is internal may stand wherever something sensitive may, and so on.


class Secret(Labelled[T_co]):
    """A value that only places cleared for secrets may see; takes every lower level."""

    __slots__ = ()
    level = Level.SECRET

    if TYPE_CHECKING:

        def with_value(self, value: U) -> "Secret[U]":
            """Return another value under the same label."""


class Sensitive(Secret[T_co]):
    """A value such as personal data; takes internal values, too."""

    __slots__ = ()
    level = Level.SENSITIVE

    if TYPE_CHECKING:

        def with_value(self, value: U) -> "Sensitive[U]":
            """Return another value under the same label."""


class Internal(Sensitive[T_co]):
    """A value that stays in the organisation."""

    __slots__ = ()
    level = Level.INTERNAL

    if TYPE_CHECKING:

        def with_value(self, value: U) -> "Internal[U]":
            """Return another value under the same label."""


ENVELOPES: Mapping[Level, type[Labelled[Any]]] = {
    Level.INTERNAL: Internal,
    Level.SENSITIVE: Sensitive,
    Level.SECRET: Secret,
}
"""The envelope of each level above public."""


def sealed_value(envelope: Labelled[Any]) -> Any:
    """Return what is in an envelope, for the wire and its guard alone."""
    return envelope._value


# The slots themselves: three times as fast as to look them up by name.
_set_value = vars(Labelled)["_value"].__set__
_set_label = vars(Labelled)["label"].__set__


def sealed(kind: type[Labelled[Any]], value: Any, label: Label) -> Labelled[Any]:
    """Return an envelope of a kind, around a value that is none, with a label of its level."""
    envelope = object.__new__(kind)
    _set_value(envelope, value)
    _set_label(envelope, label)
    return envelope


def raised_to(value: Any, label: Label) -> Any:
    """Return a value in which every envelope, at any depth, has at least a label."""
    if isinstance(value, Labelled):
        if type(value._value) in _PLAIN and value.label.covers(label):
            return value
        joined = value.label.join(label)
        inner = raised_to(value._value, label)
        if joined == value.label and inner is value._value:
            return value
        return ENVELOPES[joined.level](inner, *joined.categories)
    if isinstance(value, Mapping):
        return {raised_to(key, label): raised_to(part, label) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(raised_to(part, label) for part in value)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(raised_to(part, label) for part in value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: raised_to(part, label) for name, part in value})
    if is_dataclass(value) and not isinstance(value, type):
        return _raised_fields(value, label)
    return value


def _raised_fields(value: Any, label: Label) -> Any:
    """Return a dataclass whose fields are raised; a copy, since its constructor may do more."""
    raised = copy(value)
    for name, part in _fields_of(value):
        object.__setattr__(raised, name, raised_to(part, label))
    return raised


def label_of(value: Any) -> Label:
    """Return the join of the labels of all envelopes in a value, at any depth."""
    if type(value) in _PLAIN:
        return PUBLIC
    if isinstance(value, Labelled):
        content = value._value
        return value.label if type(content) in _PLAIN else value.label.join(label_of(content))
    label = PUBLIC
    for part in _parts(value):
        if (found := label_of(part)) is not PUBLIC:  # what is public stays PUBLIC itself
            label = label.join(found)
    return label


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, BaseModel):
        return (part for _, part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return (part for _, part in _fields_of(value))
    return ()


def _fields_of(value: Any) -> Iterable[tuple[str, Any]]:
    """Return the fields of a dataclass that are set."""
    return [(f.name, getattr(value, f.name)) for f in fields(value) if hasattr(value, f.name)]


def _unserialisable(value: Any) -> NoReturn:
    raise TypeError("a labelled value cannot be serialised; only the wire may carry it")
