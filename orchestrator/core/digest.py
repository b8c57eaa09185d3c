"""Keyed digests of values of any shape: HMAC-SHA256 (RFC 2104) over an unambiguous encoding.

A plain hash of a small domain, such as birthdays, is undone by trying all of it; without the
key this one is not.
"""

import dataclasses
import enum
import hashlib
import hmac
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel

from orchestrator.core.audit import Digest
from orchestrator.core.codecs import codec_of
from orchestrator.core.labels import Labelled, sealed_value

_Feed = Callable[[bytes], object]

_WORDS = (int, enum.Enum, date, time, timedelta, Decimal, UUID)
"""What its type and its words tell apart."""


def keyed_digest(key: bytes, value: Any) -> Digest:
    """Return the digest of a value; equal values give equal digests under one key.

    An envelope counts as what is in it. Of a type that cannot travel only its name counts.
    """
    code = hmac.new(key, digestmod=hashlib.sha256)
    _add(code.update, value)
    return Digest(code.hexdigest())


def _add(feed: _Feed, value: Any) -> None:
    kind = type(value)
    if isinstance(value, Labelled):
        _add(feed, sealed_value(value))
    elif value is None:
        feed(b"n")
    elif isinstance(value, str):
        _add_bytes(feed, b"s", value.encode(errors="surrogatepass"))
    elif isinstance(value, bytes | bytearray | memoryview):
        _add_bytes(feed, b"b", bytes(value))
    elif isinstance(value, float):
        feed(b"f" + struct.pack("<d", value))
    elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        _add_bytes(feed, b"a", f"{value.dtype.str}{value.shape}".encode())
        _add_bytes(feed, b"b", np.ascontiguousarray(value).view(np.uint8).data)
    elif isinstance(value, _WORDS):
        _add_bytes(feed, b"w", f"{kind.__qualname__} {value}".encode())
    elif isinstance(value, Mapping):
        _add_all(feed, b"m", (p for item in sorted(value.items(), key=_by_words) for p in item))
    elif isinstance(value, set | frozenset):
        _add_all(feed, b"u", sorted(value, key=str))
    elif isinstance(value, list | tuple):
        _add_all(feed, b"l", value)
    elif isinstance(value, BaseModel):
        _add_all(feed, b"o", (kind.__qualname__, dict(value)))
    elif dataclasses.is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        _add_all(feed, b"o", (kind.__qualname__, parts))
    elif codec := codec_of(kind):
        _add_all(feed, b"c", (codec.name, codec.encode(value)))
    else:
        _add_bytes(feed, b"?", kind.__qualname__.encode())


def _add_bytes(feed: _Feed, tag: bytes, data: bytes | memoryview) -> None:
    feed(tag + struct.pack("<Q", len(data)))
    feed(data)  # type: ignore[arg-type]


def _add_all(feed: _Feed, tag: bytes, values: Iterable[Any]) -> None:
    found = list(values)
    feed(tag + struct.pack("<Q", len(found)))
    for value in found:
        _add(feed, value)


def _by_words(item: tuple[Any, Any]) -> str:
    return str(item[0])
