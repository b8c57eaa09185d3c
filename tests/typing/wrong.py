"""Wrong uses: mypy --strict finds an error in every marked line, and in no other."""

import numpy as np
from numpy.typing import NDArray
from right import (
    Ranker,
    advise,
    bare,
    eco,
    embed,
    embed_private,
    length,
    minilm,
    redact,
    vectors,
    words,
    words_later,
)

from orchestrator import (
    Internal,
    Labelled,
    Orchestrator,
    Secret,
    Sensitive,
    cloud_service,
    edge_service,
)


def script() -> None:
    bare(Sensitive("x"))  # E: labelled for plain
    redact(Secret("x"))  # E: above the declared level
    redact("x")  # E: plain for labelled
    redact(Sensitive(3))  # E: wrong content
    length("x")  # E: plain where any label is asked for
    number: int = bare("a")  # E: another result type
    array: NDArray[np.float32] = embed(["a"])  # E: await forgotten
    advise("a")  # E: plain for labelled, whatever becomes of it later
    advise(Secret("a"))  # E: pseudonyms lower no secret
    answer: str = advise(Sensitive("a"))  # E: the answer is labelled again
    bare("a", lower=True)  # E: unknown keyword
    bare()  # E: argument missing
    bare("a", "b")  # E: one too many
    bare.call("a").value + 1  # E: the Result carries the type
    bare.options(tier="moon")  # E: unknown tier
    bare.options(dedline="1s")  # E: misspelt option
    Sensitive("a").upper()  # E: an envelope is no str
    "x" + Sensitive("a")  # E: an envelope is no str
    len(Sensitive("a"))  # E: an envelope has no length
    low: Sensitive[str] = Secret("a")  # E: lowering by assignment
    known: Internal[str] = length(Internal("a"))  # E: a result of any level is not known to be low
    opened: str = Sensitive("a")  # E: an envelope is no str
    Ranker.score("a", k="b")  # E: wrong argument of a method
    Ranker.score(Sensitive("a"))  # E: labelled for plain in a method
    vectors([1])  # E: wrong argument of a model as a service
    list(redact.map(["a"]))  # E: map checks its items
    Sensitive("a").value = "b"  # E: frozen
    Sensitive("a").reveal()  # E: a reason is due
    redact.local(Secret("x"))  # E: the local body checks, too
    embed.sync("a")  # E: the blocking view checks, too
    words("a").call  # E: streams have no call
    words_later.sync(1)  # E: the blocking view of a stream checks, too
    Orchestrator(setings="isthmus.yaml")  # E: misspelt keyword
    with Orchestrator(app=3):  # E: an app is a name, a module or services
        pass


def labels() -> None:
    text, hidden = Sensitive("x"), Secret("x")
    bare.call(text)  # E: labelled for plain, with its result
    bare.local(text)  # E: labelled for plain, here
    list(bare.map([text]))  # E: labelled items for plain ones
    bare(length(text))  # E: the answer of a service is labelled, too
    redact.call(hidden)  # E: above the declared level, with its result
    redact(length(text))  # E: of any level, and of another content
    mixed: list[Sensitive[str]] = [Internal("x"), hidden]  # E: one item is above the level
    numbers: Sensitive[int] = text  # E: other content under the same label
    shown: str = text.value + 1  # E: .value is the content, and a str adds no number
    told: int = text.reveal("test")  # E: .reveal gives the content
    text.reveal(reason=3)  # E: a reason is a text
    text.with_value(1).value.upper()  # E: the content has changed its type
    relabelled: Internal[int] = text.with_value(1)  # E: another content keeps the level
    text[0]  # E: an envelope has no parts
    for letter in text:  # E: an envelope has no parts
        print(letter)
    f = text < "y"  # E: envelopes have no order
    text.level = hidden.level  # E: a level is not changed
    Sensitive("x", 3)  # E: categories are names
    any_label: Labelled[int] = hidden  # E: any label, but another content


async def main() -> None:
    await bare("a")  # E: a blocking service is not awaited
    await embed(Sensitive(["a"]))  # E: labelled for plain
    await embed([Sensitive("a")])  # E: labelled inside a container
    await embed_private(Secret(["a"]))  # E: above the declared level
    for word in words_later("a"):  # E: async stream, plain loop
        print(word)
    await words("a")  # E: a stream is not awaited
    await minilm.aio("a")  # E: a model takes a list
    async for item in embed.map(["a"]):  # E: items are lists
        print(item)


@embed.on("edge")  # E: other parameters
async def other(texts: str) -> NDArray[np.float32]:
    return await minilm.aio([texts])


@embed.on("moon")  # E: unknown tier
async def elsewhere(texts: list[str]) -> NDArray[np.float32]:
    return await minilm.aio(texts)


@cloud_service(fallback="cloud")  # E: the cloud is its home
def at_home(text: str) -> str:
    return text


@edge_service(fallback="edge")  # E: the edge is its home
def at_home_too(text: str) -> str:
    return text


@cloud_service(declassifies=True)  # E: declassifiers live on the edge
def declassify_in_the_cloud(text: Sensitive[str]) -> str:
    return text.value


@cloud_service(models=["minilm"])  # E: a model is an object
def with_a_name(text: str) -> str:
    return text


@eco.cloud_service(declassifies=True)  # E: bound decorators are as strict
def bound_declassifier(text: Sensitive[str]) -> str:
    return text.value


@cloud_service(privacy="hide")  # E: there is no such word
def hidden(text: Sensitive[str]) -> Sensitive[str]:
    return text


@edge_service(privacy="pseudonymise")  # E: an edge service keeps its data anyway
def kept(text: Sensitive[str]) -> Sensitive[str]:
    return text


@eco.cloud_service(privacy=True)  # E: bound decorators are as strict
def bound_privacy(text: Sensitive[str]) -> Sensitive[str]:
    return text


@cloud_service
def leaky(text: Sensitive[str]) -> str:
    return text  # E: an envelope returned as plain


@cloud_service
def reader(text: Labelled[str]) -> Labelled[int]:
    return text.with_value(text.value)  # E: wrong content of the result
