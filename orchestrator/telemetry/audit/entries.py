"""Entries of the log: one line of JSON each, chained by hashes.

Each entry holds the hash of the one before it (Haber and Stornetta 1991; for logs Schneier and
Kelsey 1999), and its own: SHA-256 over all bytes of its line that stand before it. One event
has one line, byte for byte: keys are sorted, nothing stands between them, all is ASCII, and
there are no fractions.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.core.audit import Digest, Event
from policies.facts import PUBLIC, Label

GENESIS = "0" * 64
"""What stands for the hash before the first entry."""

_HASH = b',"hash":"'
_END = b'"}\n'
_TAIL = len(_HASH) + 64 + len(_END)


class Damaged(ValueError):
    """A line is no entry; the words say why, and repeat nothing of it."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the number and the hash of its last entry."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log.

    Attributes:
        head: Its number and hash.
        previous: The hash of the entry before it.
        content: All of it, as it stands in the line.
    """

    head: Head
    previous: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Event):
    """The log ended in an unfinished line, as after a crash, which was taken away.

    Attributes:
        count: Its bytes.
    """

    kind = "cut"

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed(Event):
    """The log could not be written for a while.

    Attributes:
        count: The events that were turned away meanwhile, and with them what they spoke of.
    """

    kind = "missed"

    count: int


def facts_of(event: Event) -> dict[str, Any]:
    """Return what an entry says of an event; what says nothing is left out."""
    found: dict[str, Any] = {"kind": event.kind}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, Label):
            if value != PUBLIC or field.name != "label":
                found[field.name] = _label(value)
        elif isinstance(value, Digest):
            found[field.name] = value.hex
        elif value != "" and value != ():
            found[field.name] = value
    return found


def seal(facts: Mapping[str, Any], time: str, after: Head) -> tuple[bytes, Head]:
    """Return the line of an entry, and where the chain ends then."""
    content = {**facts, "previous": after.hash, "seq": after.seq + 1, "time": time}
    body = canonical(content)
    code = hashlib.sha256(body).hexdigest()
    return body[:-1] + _HASH + code.encode() + _END, Head(after.seq + 1, code)


def unseal(line: bytes) -> Entry:
    """Return the entry of a line, if its hash is right.

    Raises:
        Damaged: It is not.
    """
    body, tail = line[:-_TAIL] + b"}", line[-_TAIL:]
    if len(line) <= _TAIL or not (tail.startswith(_HASH) and tail.endswith(_END)):
        raise Damaged("it is no entry")
    code = hashlib.sha256(body).hexdigest()
    if tail[len(_HASH) : -len(_END)] != code.encode():
        raise Damaged("its content does not fit its hash")
    try:
        content = json.loads(body)
        return Entry(Head(int(content["seq"]), code), str(content["previous"]), content)
    except (ValueError, KeyError, TypeError):
        raise Damaged("it is no entry") from None


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return the one JSON text of a mapping of texts, whole numbers, lists and mappings."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _label(label: Label) -> dict[str, Any]:
    said: dict[str, Any] = {"level": label.level.name.lower()}
    return said | ({"categories": sorted(label.categories)} if label.categories else {})
