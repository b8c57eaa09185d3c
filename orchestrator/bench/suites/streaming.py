"""What a stream costs: how soon its first chunk is there, and how many come in a second."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from orchestrator.bench import library
from orchestrator.bench.bare.running import AIO, openings
from orchestrator.bench.load import closed_loop, percentile
from orchestrator.bench.parties import Opening, Party, open_all
from orchestrator.bench.peers import PEERS
from orchestrator.bench.suites.suite import Base, Column, Options, Suite
from orchestrator.bench.turns import Case, Figures, Prepared

CHUNKS = 64
IN_FLIGHT = (1, 16)


@asynccontextmanager
async def open_suite(options: Options) -> AsyncIterator[Prepared]:
    """Start every party that streams."""
    async with AsyncExitStack() as stack:
        ours: list[tuple[str, Opening]] = [
            (library.SESSION, library.over_session),
            (library.NEARBY, library.nearby),
            (library.UNARY, library.over_single_rpcs),
            (library.IN_PROCESS, library.in_process),
        ]
        peers = [(peer.name, peer.calls) for peer in options.peers if "stream" in peer.can]
        wanted = [*openings("stream"), *ours, *peers]
        parties, absent = await open_all(wanted, stack, options.say)
        cases = [
            Case(f"{count} in flight", [p.way(partial(measure, p, count)) for p in parties])
            for count in IN_FLIGHT
        ]
        yield Prepared(cases, absent)


async def measure(party: Party, in_flight: int, seconds: float) -> tuple[Figures, int]:
    """Keep so many streams under way; count chunks, and note when each stream's first came."""
    first: list[float] = []

    async def once() -> None:
        began, came = time.perf_counter(), 0
        async for _ in party.client.stream(CHUNKS):
            if not came:
                first.append(time.perf_counter() - began)
            came += 1
        if not came:
            raise RuntimeError("a stream ended before its first chunk")

    load = await closed_loop(once, in_flight, seconds)
    chunks = len(load.times) * CHUNKS
    return {
        "first_p50_us": percentile(first, 0.50) * 1e6,
        "first_p99_us": percentile(first, 0.99) * 1e6,
        "chunks_per_second": chunks / load.seconds,
    }, chunks


SUITE = Suite(
    name="streaming",
    title="What a stream costs",
    about=(
        f"Streams of {CHUNKS} chunks of 20 bytes, all ready at once: how soon the first one is "
        "there, and how many arrive in a second. CPU time is that of a chunk."
    ),
    bases=(Base("aio", [AIO]), Base("best peer", list(PEERS))),
    columns=(
        Column("first_p50_us", "first chunk p50 us", compared=True),
        Column("first_p99_us", "p99 us"),
        Column("chunks_per_second", "chunks/s", compared=True, more_is_better=True),
        Column("caller_cpu_us", "CPU us, caller", 1),
        Column("server_cpu_us", "server", 1),
    ),
    plotted="first_p50_us",
    open=open_suite,
)
