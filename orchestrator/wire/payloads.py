"""Values to JSON with attachments and back: packed alike for every channel.

What the markers mean stands in protos/isthmus/v1/node.proto.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from orchestrator.core.codecs import codec_named, codec_of
from orchestrator.core.errors import InvalidInput, WireError
from orchestrator.core.labels import Labelled, label_of, sealed_value
from orchestrator.core.model import Array
from orchestrator.wire.envelopes import envelope_of, mark_of, opened_flat, plain_flat
from orchestrator.wire.tensors import check_array
from policies.facts import PUBLIC, Label
from policies.record import record

# A datetime is a date, so it stands first.
_LEAVES = (datetime, date, time, timedelta, Decimal, UUID)
_LEAF_ADAPTERS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in _LEAVES}

_MAX_DEPTH = 195
"""Brackets inside brackets; pydantic's parser, which reads them at the node, stops at 200."""

MAX_ATTACHMENTS = 2**16 - 1
"""Arrays and bytes in one value: so many a session can count."""

_MAX_BITS, _MAX_DIGITS = 14_000, 4_000
"""Of a whole number; the parser reads 4300 digits."""

_SCALARS: frozenset[type] = frozenset({str, float, bool, int, type(None)})
_TEXTS = _SCALARS - {int}


@record
class Packed:
    """A value ready for a channel, with all envelopes opened.

    Attributes:
        json: JSON, with markers for what JSON does not know.
        attachments: Arrays and bytes, referred to by index.
        label: The join of the labels of the envelopes that were opened.
    """

    json: bytes
    attachments: tuple[Array | bytes, ...] = ()
    label: Label = PUBLIC

    @property
    def size(self) -> int:
        """How many bytes it takes, but for a few."""
        if not self.attachments:
            return len(self.json)
        return len(self.json) + sum(
            part.nbytes if isinstance(part, np.ndarray) else len(part) for part in self.attachments
        )


def pack(value: Any) -> Packed:
    """Take a value apart; arrays are shared as read-only views.

    Raises:
        InvalidInput: Something in it cannot travel.
    """
    if _is_json(value, _SCALARS):
        try:
            json = to_json(value, inf_nan_mode="constants")
        except PydanticSerializationError:
            json = b""  # told in our words below
        if json and (len(json) < _MAX_DIGITS or _is_json(value, _TEXTS)):
            return Packed(json)
    elif flat := plain_flat(value):
        plain, label = flat
        try:
            json = to_json(plain, inf_nan_mode="constants")
        except PydanticSerializationError:
            json = b""
        if json and len(json) < _MAX_DIGITS:
            return Packed(json, (), label)
    packing = _Packing()
    try:
        json = to_json(packing.plain(value), inf_nan_mode="constants")
    except RecursionError:
        raise InvalidInput("the value is nested too deeply to travel", shareable=True) from None
    except PydanticSerializationError:
        raise InvalidInput("a text is no valid Unicode and cannot travel", shareable=True) from None
    return Packed(json, tuple(packing.attachments), packing.label)


def unpack(packed: Packed) -> Any:
    """Put a value together again; dataclasses and models stay dicts until a schema loads them.

    Raises:
        WireError: It is no JSON, or a marker makes no sense.
        PrivacyRefused: A value in it has an unknown label.
    """
    try:
        body = from_json(packed.json or b"null", allow_inf_nan=True)
    except ValueError:
        raise WireError("a payload is no JSON") from None
    if b'"$' not in packed.json and b'"\\u0024' not in packed.json:
        return body  # no marker in it, and no text that could look like one
    if (opened := opened_flat(body)) is not None:
        return opened
    return _Unpacking(packed.attachments).value(body)


def _is_json(value: Any, scalars: frozenset[type]) -> bool:
    """Say whether a value is JSON as it stands: a scalar, or one level of them; most are."""
    kind = type(value)
    if kind is dict:
        for key, part in value.items():
            if type(key) is not str or key[:1] == "$":
                return False
            if type(part) not in scalars and not (
                type(part) is list and scalars.issuperset(map(type, part))
            ):
                return False
        return True
    return kind in scalars or (kind is list and scalars.issuperset(map(type, value)))


class _Packing:
    """One value being taken apart."""

    def __init__(self) -> None:
        self.attachments: list[Array | bytes] = []
        self.label = PUBLIC
        self._depth = 0

    def plain(self, value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is float or kind is bool:
            return value
        if value is None or (isinstance(value, int | float) and not isinstance(value, Enum)):
            return self._number(value)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise RecursionError
        plain = self._plain_structure(value)
        self._depth -= 1
        return plain

    def _plain_structure(self, value: Any) -> Any:
        if type(value) is dict:
            return {self._key(key): self.plain(part) for key, part in value.items()}
        if isinstance(value, np.ndarray):
            return {"$tensor": self._attach_array(value)}
        if isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value)
            return {"$bytes": self._attach(data)}
        if isinstance(value, Labelled):
            self.label = self.label.join(value.label)
            return {"$label": mark_of(value.label), "$value": self.plain(sealed_value(value))}
        if codec := codec_of(type(value)):
            return {"$codec": codec.name, "$value": self.plain(codec.encode(value))}
        if isinstance(value, Mapping):
            return {self._key(key): self.plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.plain(part) for part in value]
        return self._plain_object(value)

    def _plain_object(self, value: Any) -> Any:
        if isinstance(value, RootModel):
            return self.plain(value.root)
        if isinstance(value, BaseModel):
            return {self._key(name): self.plain(part) for name, part in value}
        if isinstance(value, Enum):
            return self.plain(value.value)
        if is_dataclass(value) and not isinstance(value, type):
            given = (field.name for field in fields(value) if field.init)
            return {name: self.plain(getattr(value, name)) for name in given}
        if isinstance(value, str):
            return self.plain(str(value))
        if isinstance(value, np.generic):
            return self.plain(value.item())
        if kind := next((kind for kind in _LEAVES if isinstance(value, kind)), None):
            return {"$type": kind.__name__, "$value": _leaf_text(value)}
        raise InvalidInput(
            f"a value of type {type(value).__name__} cannot travel: register_codec adds a type",
            shareable=True,
        )

    def _number(self, number: Any) -> Any:
        if isinstance(number, int) and number.bit_length() > _MAX_BITS:
            raise InvalidInput(
                "a whole number of more than 4000 digits cannot travel", shareable=True
            )
        return number

    def _key(self, key: Any) -> str:
        if type(key) is not str and label_of(key) != PUBLIC:
            raise InvalidInput(
                "a labelled key cannot travel: label the whole mapping instead", shareable=True
            )
        text = str(key)
        return f"${text}" if text.startswith("$") else text

    def _attach_array(self, array: Array) -> int:
        check_array(array)
        view = array.view()
        view.flags.writeable = False
        return self._attach(view)

    def _attach(self, part: Array | bytes) -> int:
        if len(self.attachments) == MAX_ATTACHMENTS:
            raise InvalidInput(
                f"a value of more than {MAX_ATTACHMENTS:,} arrays and bytes cannot travel: join "
                "them into fewer, larger ones",
                shareable=True,
            )
        self.attachments.append(part)
        return len(self.attachments) - 1


def _leaf_text(value: Any) -> Any:
    offset = value.utcoffset() if isinstance(value, datetime) else None
    if offset is not None and offset.seconds % 60:
        value = value.astimezone(UTC)  # pydantic drops the seconds of an offset, in use until 1937
    return to_jsonable_python(value)


class _Unpacking:
    """One value being put together."""

    def __init__(self, attachments: tuple[Array | bytes, ...]) -> None:
        self._attachments = attachments

    def value(self, body: Any) -> Any:
        if type(body) is list:
            return [self.value(part) for part in body]
        if type(body) is not dict:
            return body
        if len(body) == 2 and "$label" in body and "$value" in body:
            return envelope_of(body["$label"], self.value(body["$value"]))
        for key in body:
            if key[:1] == "$" and key[1:2] != "$":
                return self._marked(key, body)
        return {key[1:] if key.startswith("$$") else key: self.value(p) for key, p in body.items()}

    def _marked(self, marker: str, body: dict[str, Any]) -> Any:
        content = body[marker]
        if marker in ("$tensor", "$bytes") and len(body) == 1:
            kind = bytes if marker == "$bytes" else np.ndarray
            if isinstance(content, int) and 0 <= content < len(self._attachments):
                part = self._attachments[content]
                if isinstance(part, kind):
                    return part
            raise WireError("a payload refers to an attachment that is not there")
        if marker in ("$type", "$value") and body.keys() == {"$type", "$value"}:
            return self._leaf(body["$type"], body["$value"])
        if marker in ("$codec", "$value") and body.keys() == {"$codec", "$value"}:
            codec = codec_named(str(body["$codec"]))
            if codec is None:
                raise WireError("a payload needs a codec that is not registered here")
            try:
                return codec.decode(self.value(body["$value"]))
            except Exception:
                raise WireError("a codec refused a value") from None
        raise WireError("a payload has an unknown marker")

    def _leaf(self, name: Any, value: Any) -> Any:
        try:
            return _LEAF_ADAPTERS[str(name)].validate_python(value)
        except (KeyError, ValueError):
            raise WireError("a payload has a value that is not of its type") from None
