"""The services of the demo, and the app of its nodes: `--app orchestrator.demo.services`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.labels import Labelled, Sensitive
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.models.text import TextEmbedding
from orchestrator.privacy.redact import redact

Vector = NDArray[np.float32]

minilm = TextEmbedding("minilm")


@dataclass(frozen=True)
class Cleaned:
    """A message without personal data, and how much of each kind was masked."""

    text: str
    masked: dict[str, int]


@dataclass(frozen=True)
class Match:
    """The help topic nearest to a message, by its number, and how near it is (cosine)."""

    topic: int
    similarity: float


@edge_service(declassifies=True, idempotent=True)
def clean(text: Sensitive[str]) -> Cleaned:
    """Mask personal data; the raw message never leaves the edge."""
    found = redact(" ".join(text.value.split()))
    return Cleaned(found.text, found.counts)


@cloud_service(models=[minilm], overflow="edge", idempotent=True, deadline="10s")
async def embed(text: str) -> Vector:
    """Turn a cleaned message into a vector, wherever that is done first."""
    vectors = await minilm.aio([text])
    return np.asarray(vectors[0])


@cloud_service(models=[minilm], fallback="edge", idempotent=True, deadline="10s")
async def embed_confidential(text: Sensitive[str]) -> Sensitive[Vector]:
    """Turn a message into a vector under its own label, so that it stays at the edge."""
    vectors = await minilm.aio([text.value])
    return text.with_value(vectors[0])


@edge_service(idempotent=True)
def match(vector: Vector, topics: Vector) -> Match:
    """Find the topic nearest to a vector."""
    return nearest(vector, topics)


@edge_service(declassifies=True, idempotent=True)
def match_confidential(vector: Sensitive[Vector], topics: Vector) -> Match:
    """Find the topic nearest to a labelled vector; the topic alone is not private."""
    return nearest(vector.value, topics)


@cloud_service
def archive(text: Labelled[str]) -> Labelled[int]:
    """Stand for a service that would keep raw messages in the cloud: privacy refuses it."""
    return text.with_value(len(text.value))


def nearest(vector: Vector, topics: Vector) -> Match:
    """Return the nearest row of topics; all vectors have length one."""
    similarities = topics @ vector
    best = int(np.argmax(similarities))
    return Match(best, float(similarities[best]))
