"""Right uses: mypy --strict finds nothing here, and every result has the type that is asserted."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from orchestrator import (
    EdgeCloudOrchestrator,
    Internal,
    Labelled,
    Orchestrator,
    Result,
    Secret,
    Sensitive,
    TensorModel,
    TextEmbedding,
    cloud_service,
    edge_service,
    errors,
    method,
)

Vectors = NDArray[np.float32]

minilm = TextEmbedding("minilm")
scorer = TensorModel("scorer", factory="app:make_scorer")


@edge_service(declassifies=True)
def redact(text: Sensitive[str]) -> str:
    return text.value.replace("x", "*")


@edge_service
def bare(text: str, *, upper: bool = False) -> str:
    return text.upper() if upper else text


@edge_service(overflow="cloud", inline=True, name="shop.spill")
def spill(number: int) -> int:
    return number


@cloud_service(models=[minilm], fallback="edge", deadline="300ms")
async def embed(texts: list[str]) -> Vectors:
    return await minilm.aio(texts)


@cloud_service(models=[minilm, scorer], idempotent=True)
async def embed_to_any_array(texts: list[str]) -> np.ndarray:
    return await minilm.aio(texts)


@cloud_service(models=[minilm], fallback="edge")
async def embed_private(texts: Sensitive[list[str]]) -> Sensitive[Vectors]:
    return texts.with_value(await minilm.aio(texts.value))


@embed.on("edge")
async def embed_at_the_edge(texts: list[str]) -> Vectors:
    return await minilm.aio(texts)


@cloud_service
def words(text: str) -> Iterator[str]:
    yield from text.split()


@edge_service()
async def words_later(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word


@edge_service
def length(text: Labelled[str]) -> Labelled[int]:
    return text.with_value(len(text.value))


@cloud_service(privacy="pseudonymise", deadline="2s")
def advise(letter: Sensitive[str], *, tone: str = "kind") -> Sensitive[str]:
    return letter


@cloud_service(privacy="pseudonymise")
async def advise_later(letter: Secret[dict[str, str]]) -> AsyncIterator[Sensitive[str]]:
    yield Sensitive(letter.value["text"])


@cloud_service(privacy="local")
def weigh(letter: Labelled[str]) -> Labelled[int]:
    return letter.with_value(1)


@cloud_service(fallback="edge")
class Ranker:
    def __init__(self) -> None:
        self.weight = 2.0

    @method
    def score(self, text: str, k: int = 1) -> float:
        return self.weight * len(text) * k


@cloud_service
class Talker:
    @method
    async def talk(self, text: str) -> str:
        return text

    @method
    def tokens(self, text: str) -> Iterator[str]:
        yield text

    @method
    async def tokens_later(self, text: str) -> AsyncIterator[str]:
        yield text


vectors = cloud_service(minilm, overflow="edge")

eco = EdgeCloudOrchestrator(edge_nodes=["127.0.0.1:50051"], cloud_zone="gpu.example:50052")


@eco.cloud_service(fallback="edge")
async def bound(text: str) -> str:
    return text


@eco.edge_service
def bound_bare(text: str) -> str:
    return text


def script() -> None:
    assert_type(redact(Sensitive("x")), str)
    assert_type(redact(Internal("x")), str)  # a lower level for a higher parameter: always safe
    assert_type(redact(text=Sensitive("x", "pii")), str)
    assert_type(bare("a", upper=True), str)
    assert_type(bare.call("a"), Result[str])
    assert_type(bare.call("a").value, str)
    assert_type(bare.local("a"), str)
    assert_type(bare.options(deadline="1s", tier="edge")("a"), str)
    assert_type(spill(1), int)
    assert_type(embed.sync(["a"]), Vectors)
    assert_type(embed.sync.call(["a"]), Result[Vectors])
    assert_type(list(embed.sync.map([["a"]])), list[Vectors])
    assert_type(list(redact.map([Sensitive("a")])), list[str])
    assert_type(
        list(redact.map([Sensitive("a")], return_errors=True)), list[str | errors.CallError]
    )
    assert_type(vectors(["a"]), Vectors)
    assert_type(Ranker.score("a", k=2), float)
    assert_type(Ranker.score.call("a"), Result[float])
    assert_type(Ranker().score("a"), float)
    assert_type(length(Secret("a")), Labelled[int])
    assert_type(list(Talker.tokens("a")), list[str])
    assert_type(Sensitive("a").with_value(1), Sensitive[int])
    assert_type(Internal("a").with_value(1), Internal[int])
    assert_type(Sensitive("a").reveal("support ticket 7"), str)
    assert_type(Sensitive("a").value, str)
    assert_type(Secret([1]).value[0], int)
    assert_type(Labelled("a", "pii").with_value(1.5), Labelled[float])
    assert_type(length(Sensitive("a")).label.level >= Secret("a").level, bool)
    any_label: Labelled[str] = Internal("a")
    at_most: Secret[str] = Sensitive("a")
    assert_type(length(any_label), Labelled[int])
    assert_type(length(at_most), Labelled[int])
    assert_type(advise(Sensitive("a"), tone="cool"), Sensitive[str])
    assert_type(weigh(Secret("a")), Labelled[int])
    stream = words("a b")
    for word in stream:
        assert_type(word, str)
    assert_type(stream.result, Result[None])
    with Orchestrator("isthmus.yaml", app="inbox") as orchestrator:
        assert_type(orchestrator, Orchestrator)


async def main(inbox: list[str]) -> None:
    clean = [await redact.aio(Sensitive(text)) for text in inbox]
    assert_type(await embed.call(clean), Result[Vectors])
    assert_type(await embed(clean), Vectors)
    assert_type(await embed.aio(clean), Vectors)
    assert_type(await embed.local(["a"]), Vectors)
    assert_type(await redact.aio.call(Sensitive("x")), Result[str])
    assert_type(await embed_private(Sensitive(["a"])), Sensitive[Vectors])
    assert_type(await vectors.aio(["a"]), Vectors)
    assert_type(await Ranker.score.aio("a"), float)
    assert_type(await Talker.talk("a"), str)
    assert_type(await Talker().talk("a"), str)
    assert_type(await bound("a"), str)
    assert_type(await bound_bare.aio("a"), str)
    async for vector in embed.map([["a"], ["b"]]):
        assert_type(vector, Vectors)
    async for answer in bare.aio.map(["a"], return_errors=True):
        assert_type(answer, str | errors.CallError)
    async for word in words_later("a b"):
        assert_type(word, str)
    async for piece in advise_later(Secret({"text": "a"})):
        assert_type(piece, Sensitive[str])
    async for word in words.aio("a b"):
        assert_type(word, str)
    async for word in Talker.tokens_later("a"):
        assert_type(word, str)
    for word in words_later.sync("a b"):
        assert_type(word, str)
    async with eco:
        pass
