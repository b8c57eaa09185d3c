"""The app of the capture proof: services that take labelled data, public data, or both.

Its nodes and its caller run on one machine whose cable nobody else can reach, so plaintext on it
keeps the configured clearance: labels and guard have to hold alone, without that rule's help.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from orchestrator import (
    Internal,
    Labelled,
    Orchestrator,
    Sensitive,
    TensorModel,
    cloud_service,
    edge_service,
)
from orchestrator.core.errors import PrivacyRefused
from orchestrator.routing import connect

setattr(connect, "is_local", lambda address: True)  # noqa: B010  mypy knows no such name there

_checksum = TensorModel("checksum")
_planted = logging.getLogger("isthmus.planted")

Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Patient:
    """A record with fields of many kinds."""

    name: str
    number: int
    history: list[dict[str, str]]
    scan: bytes


class Visit(BaseModel):
    """A record of records."""

    reason: str
    patients: dict[str, Patient]


@cloud_service(idempotent=True)
async def echo(mark: str) -> int:
    """Take a public text."""
    return len(mark)


nested = Orchestrator("isthmus.yaml", app=[echo])
"""What the bodies of the edge node call the cloud through."""


@cloud_service(idempotent=True)
async def swallow(data: bytes) -> int:
    """Take public bytes."""
    return len(data)


@cloud_service(idempotent=True)
async def drip(mark: str, count: int) -> AsyncIterator[str]:
    """Give a public text back in chunks."""
    for _ in range(count):
        yield mark


@cloud_service(fallback="edge", idempotent=True)
async def tally(mark: str) -> int:
    """Prefer the cloud, and take a public text."""
    return len(mark)


@edge_service(fallback="cloud", idempotent=True)
async def tally_here(mark: str) -> int:
    """Prefer the edge, and take a public text."""
    return len(mark)


@cloud_service
async def stumble(mark: str) -> int:
    """Fail with the text in the message."""
    raise ValueError(mark)


@cloud_service(idempotent=True)
async def ponder(mark: str) -> int:
    """Take long."""
    await asyncio.sleep(5)
    return len(mark)


@cloud_service
def archive(texts: Labelled[list[str]]) -> Labelled[int]:
    """Stay in the cloud and take any label."""
    return texts.with_value(len(texts.value))


@cloud_service
def note(text: Internal[str]) -> Internal[int]:
    """Stay in the cloud and take internal data."""
    return text.with_value(len(text.value))


@cloud_service(fallback="edge", idempotent=True)
def weigh(text: Labelled[str]) -> Labelled[int]:
    """Prefer the cloud and take any label."""
    return text.with_value(len(text.value))


@edge_service(idempotent=True)
def admit(patient: Sensitive[Patient]) -> Sensitive[Patient]:
    """Give a record back."""
    return patient


@edge_service(fallback="cloud", idempotent=True)
def visit(visit: Sensitive[Visit]) -> Sensitive[list[str]]:
    """Prefer the edge and take a record of records."""
    return visit.with_value([visit.value.reason, *visit.value.patients])


@edge_service(overflow="cloud", idempotent=True)
def index(
    words: dict[str, Sensitive[list[str]]], entries: Sensitive[dict[str, int]]
) -> Sensitive[int]:
    """Take envelopes inside of something plain, and numbers."""
    return entries.with_value(len(words) + len(entries.value))


@edge_service(overflow="cloud", idempotent=True)
def scan(pixels: Sensitive[Pixels], raw: Sensitive[bytes]) -> Sensitive[Pixels]:
    """Take arrays and bytes."""
    return pixels.with_value(pixels.value[::-1])


@edge_service(models=[_checksum], idempotent=True)
async def checksum(rows: Sensitive[Rows]) -> Sensitive[Rows]:
    """Give a checksum of each row, in a batch with those of others."""
    return rows.with_value((await _checksum.aio({"rows": rows.value}))["sums"])


@edge_service(overflow="cloud", idempotent=True)
async def dictate(text: Sensitive[str], count: int) -> AsyncIterator[Sensitive[str]]:
    """Give a labelled text back in chunks."""
    for _ in range(count):
        yield text


@edge_service(fallback="cloud", idempotent=True)
def fail(text: Sensitive[str]) -> Sensitive[int]:
    """Fail with the labelled text in the message."""
    raise LookupError(text.value)


@edge_service(fallback="cloud", idempotent=True)
async def brood(text: Sensitive[str]) -> Sensitive[int]:
    """Take long over a labelled text."""
    await asyncio.sleep(5)
    return text.with_value(len(text.value))


@edge_service
async def slip(text: Sensitive[str]) -> Sensitive[str]:
    """Open a labelled text and try to send it to the cloud as plain text, in two ways."""
    ends = []
    for sent in (text.value, f"{text.value[:20]} and {text.value[20:]}"):
        try:
            await echo(sent)
            ends.append("sent")
        except PrivacyRefused:
            ends.append("refused")
    return text.with_value(" ".join(ends))


@edge_service(declassifies=True)
async def redact(text: Sensitive[str], mark: str) -> int:
    """Send on what it has cleaned."""
    return await echo(f"{'*' * len(text.value)} {mark}")


@cloud_service(privacy="pseudonymise", idempotent=True)
def summarise(text: Sensitive[str]) -> Sensitive[str]:
    """Give a text back, whose addresses have been replaced by then."""
    return text.with_value(f"It says: {text.value}")


@edge_service
def confess(text: Sensitive[str], where: str) -> Sensitive[int]:
    """Leave a text where none may stand; only the positive control calls it."""
    secret = text.value
    if where == "log":
        _planted.warning("it is %s", secret)
    elif where in ("file", "audit"):
        Path(f"planted.{where}").write_text(secret)
    else:
        _count_as(secret)
    return text.with_value(len(secret))


def _count_as(secret: str) -> None:
    """Let this node count its calls by a text, beginning with the one under way."""
    from orchestrator.serving.metrics import NodeMetrics

    right = NodeMetrics.record

    def record(self: NodeMetrics, service: str, code: str, seconds: float) -> None:
        right(self, secret, code, seconds)

    NodeMetrics.record = record  # type: ignore[method-assign]
