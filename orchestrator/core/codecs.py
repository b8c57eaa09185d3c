"""How values of further types travel: codecs, registered at import like services."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.core.errors import DefinitionError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type travels: to plain values (arrays and bytes included) and back."""

    name: str
    kind: type[Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_by_kind: dict[type[Any], Codec] = {}
_by_name: dict[str, Codec] = {}


def register_codec(
    kind: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T], *, name: str = ""
) -> None:
    """Let values of a type travel as arguments and results; do it at import, on every node.

    Args:
        kind: The type.
        encode: Makes plain values of it: None, bool, numbers, str, bytes, arrays, list, dict.
        decode: Makes the value again; it sees bytes from strangers, so it must not trust them.
        name: What the wire calls it; by default the type's qualified name.

    Raises:
        DefinitionError: The name belongs to another type.
    """
    codec = Codec(name or f"{kind.__module__}.{kind.__qualname__}", kind, encode, decode)
    known = _by_name.get(codec.name)
    if known and _place(known.kind) != _place(kind):
        raise DefinitionError(
            f"codec {codec.name!r} already belongs to {known.kind!r}: give a name"
        )
    _by_kind[kind] = _by_name[codec.name] = codec


def _place(kind: type[Any]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__  # the same after its module was loaded again


def codec_of(kind: Any) -> Codec | None:
    """Return the codec of a type, or None."""
    return _by_kind.get(kind) if isinstance(kind, type) else None


def codec_named(name: str) -> Codec | None:
    """Return the codec that the wire calls by this name, or None."""
    return _by_name.get(name)
