"""What an array costs that travels there and back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import numpy as np

from orchestrator.bench import library
from orchestrator.bench.bare.running import AIO, SYNC, openings
from orchestrator.bench.load import closed_loop, percentile
from orchestrator.bench.parties import Floats, Opening, Party, open_all
from orchestrator.bench.peers import PEERS
from orchestrator.bench.suites.suite import Base, Column, Options, Suite
from orchestrator.bench.turns import Case, Figures, Prepared

MEGABYTES = (1, 16)
FLOATS_IN_MB = 2**20 // 4


@asynccontextmanager
async def open_suite(options: Options) -> AsyncIterator[Prepared]:
    """Start every party that takes arrays."""
    async with AsyncExitStack() as stack:
        ours: list[tuple[str, Opening]] = [
            (library.SESSION, library.over_session),
            (library.UNIX, library.over_unix_socket),
            (library.NEARBY, library.nearby),
            (library.IN_PROCESS, library.in_process),
        ]
        peers = [(peer.name, peer.calls) for peer in options.peers if "tensor" in peer.can]
        wanted = [*openings("tensor"), *ours, *peers]
        parties, absent = await open_all(wanted, stack, options.say)
        yield Prepared([_case(size, parties) for size in MEGABYTES], absent)


def _case(size: int, parties: list[Party]) -> Case:
    array = np.random.default_rng(size).random(size * FLOATS_IN_MB, np.float32)
    return Case(f"{size} MB", [p.way(partial(measure, p, array)) for p in parties])


async def measure(party: Party, array: Floats, seconds: float) -> tuple[Figures, int]:
    """Send an array and take it back, one after the other.

    Raises:
        RuntimeError: What came back is not what was sent.
    """
    answer = await party.client.tensor(array)
    ends = [0, -1]  # all of it would take as long as the call
    if answer.size != array.size or not np.array_equal(answer.reshape(-1)[ends], array[ends]):
        raise RuntimeError("another array came back than was sent")
    load = await closed_loop(lambda: party.client.tensor(array), 1, seconds)
    return {
        "mb_per_second": 2 * array.nbytes / 1e6 * load.per_second,
        "p50_ms": percentile(load.times, 0.50) * 1e3,
        "p99_ms": percentile(load.times, 0.99) * 1e3,
    }, len(load.times) + 1


SUITE = Suite(
    name="tensors",
    title="What a tensor costs",
    about=(
        "A float32 array travels to the server and back, one call after the other; megabytes are "
        "counted in both directions."
    ),
    bases=(Base("sync", [SYNC]), Base("aio", [AIO]), Base("best peer", list(PEERS))),
    columns=(
        Column("mb_per_second", "MB/s", compared=True, more_is_better=True),
        Column("p50_ms", "p50 ms", 2),
        Column("p99_ms", "p99 ms", 2),
        Column("caller_cpu_us", "CPU us, caller"),
        Column("server_cpu_us", "server"),
    ),
    plotted="mb_per_second",
    open=open_suite,
)
