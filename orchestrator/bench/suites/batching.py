"""How much of what a model can do on this machine reaches its callers."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from orchestrator.bench import library
from orchestrator.bench.embedding import MODEL, minilm
from orchestrator.bench.limit import PRECISION, Limit
from orchestrator.bench.load import percentile
from orchestrator.bench.parties import Opening, Party, open_all
from orchestrator.bench.peers import BATCHING, PEERS, TUNED
from orchestrator.bench.suites.suite import Base, Column, Options, Suite
from orchestrator.bench.texts import LONGEST, mixed_lengths, texts_of
from orchestrator.bench.turns import Case, Figures, Prepared, Way
from orchestrator.models.store import ModelStore

LIMIT = "in-process limit"
IN_FLIGHT = (64, 8)
_TEXTS_A_SECOND = {"mixed lengths": 256, "all 128 tokens": 64}
"""So many texts stand for a second of a turn; two cores take about that long."""

_EVEN = 32
"""Texts come in multiples of both buckets on both cores, or the limit would look lower."""

_SAME = 0.99


@asynccontextmanager
async def open_suite(options: Options) -> AsyncIterator[Prepared]:
    """Start the node, and every peer that serves the model."""
    folder = ModelStore(options.store).open(MODEL)
    mixes = {}
    for name, rate in _TEXTS_A_SECOND.items():
        count = max(int(rate * options.seconds) // _EVEN, 1) * _EVEN
        lengths = mixed_lengths(count) if name == "mixed lengths" else [LONGEST] * count
        mixes[name] = Mix(name, rate, texts_of(lengths, folder))
    async with AsyncExitStack() as stack:
        flags = ["--models", str(options.store), "--graph", PRECISION]
        session = partial(library.over_session, app=library.EMBEDDING, flags=flags)
        ours: list[tuple[str, Opening]] = [(library.SESSION, session)]
        theirs = [opening for peer in options.peers for opening in peer.embeddings]
        parties, absent = await open_all([*ours, *theirs], stack, options.say)
        limits = {name: Limit(minilm, folder, mix.texts) for name, mix in mixes.items()}
        cases = [
            _case(mix, limits[mix.name], parties, count)
            for mix in mixes.values()
            for count in IN_FLIGHT
        ]
        yield Prepared(cases, absent)


@dataclass(frozen=True, slots=True)
class Mix:
    """Texts of certain lengths, their name, and how many stand for a second."""

    name: str
    rate: int
    texts: Sequence[str]

    def endless(self) -> Iterator[str]:
        """Yield them in random order again and again."""
        order = np.random.default_rng(2).permutation(len(self.texts))
        return itertools.cycle([self.texts[place] for place in order])


def _case(mix: Mix, limit: Limit, parties: list[Party], in_flight: int) -> Case:
    async def bound(seconds: float) -> tuple[Figures, int]:
        return await asyncio.to_thread(limit.best)

    expected = limit.vector(mix.texts[0])
    ways = [p.way(partial(measure, p, mix, expected, in_flight)) for p in parties]
    return Case(f"{mix.name}, {in_flight} in flight", [Way(LIMIT, bound), *ways])


async def measure(
    party: Party, mix: Mix, expected: np.ndarray, in_flight: int, seconds: float
) -> tuple[Figures, int]:
    """Keep so many callers asking, one text at a time; look at the steady state.

    Raises:
        RuntimeError: The answer is not what the graph answers.
    """
    vector = np.asarray(await party.client.embed(mix.texts[0])).reshape(-1)
    if vector.shape != expected.shape or float(vector @ expected) < _SAME:
        raise RuntimeError("its vector is not that of the model")
    texts, done = mix.endless(), list[tuple[float, float]]()
    enough = in_flight + max(int(mix.rate * seconds), _EVEN)

    async def caller() -> None:
        while len(done) < enough:
            began = time.perf_counter()
            await party.client.embed(next(texts))
            done.append((time.perf_counter(), began))

    async with asyncio.TaskGroup() as callers:
        for _ in range(in_flight):
            callers.create_task(caller())
    begun, *steady = done[in_flight - 1 : enough]
    times = [ended - began for ended, began in steady]
    return {
        "texts_per_second": len(steady) / (steady[-1][0] - begun[0]),
        "p50_ms": percentile(times, 0.50) * 1e3,
        "p99_ms": percentile(times, 0.99) * 1e3,
        "p99_over_p50": percentile(times, 0.99) / percentile(times, 0.50),
    }, len(done) + 1


SUITE = Suite(
    name="batching",
    title="What of a model reaches its callers",
    about=(
        "MiniLM in FP32, one text a call, in random order. The limit runs the same texts by the "
        "graphs that a node has to choose from in this process without any serving, sorted by "
        "length, in batches of 8 or 16, by one thread on each core or by all cores together, "
        "whichever is fastest in that round. "
        "Mixed lengths are log-normal from 8 to 128 tokens, median 28."
    ),
    bases=(
        Base("limit", [LIMIT]),
        Base("best tuned", [TUNED.format(name) for name in PEERS]),
        Base("best batching", [BATCHING.format(name) for name in PEERS]),
    ),
    columns=(
        Column("texts_per_second", "texts/s", 1, compared=True, more_is_better=True),
        Column("p50_ms", "p50 ms", 1),
        Column("p99_ms", "p99 ms", 1, compared=True),
        Column("p99_over_p50", "p99/p50", 2),
        Column("cpu_us", "CPU us a text", compared=True),
    ),
    plotted="texts_per_second",
    open=open_suite,
)
