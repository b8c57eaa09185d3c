"""What a call costs: an echo of 100 bytes, with few and many calls in flight, and at low load."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from orchestrator.bench import library
from orchestrator.bench.bare.running import AIO, openings
from orchestrator.bench.load import Load, closed_loop, open_loop, percentile
from orchestrator.bench.parties import Opening, Party, open_all
from orchestrator.bench.peers import PEERS
from orchestrator.bench.suites.suite import Base, Column, Options, Suite
from orchestrator.bench.turns import Case, Figures, Prepared, Way

TEXT = "a" * 100
IN_FLIGHT = (1, 16, 64)
RATE = 200.0
PLAIN = "the plain function"


@asynccontextmanager
async def open_suite(options: Options) -> AsyncIterator[Prepared]:
    """Start every party."""
    async with AsyncExitStack() as stack:
        ours: list[tuple[str, Opening]] = [
            (library.SESSION, library.over_session),
            (library.UNIX, library.over_unix_socket),
            (library.NEARBY, library.nearby),
            (library.IN_PROCESS, library.in_process),
        ]
        peers = [(peer.name, peer.calls) for peer in options.peers]
        wanted = [*openings("echo"), *ours, *peers]
        parties, absent = await open_all(wanted, stack, options.say)
        yield Prepared(_cases(parties), absent)


def _cases(parties: list[Party]) -> list[Case]:
    cases = [
        Case(f"{count} in flight", [p.way(partial(_closed, p, count)) for p in parties])
        for count in IN_FLIGHT
    ]
    first = Case(cases[0].name, [*cases[0].ways, Way(PLAIN, _plain)])
    dice = random.Random(1)  # noqa: S311  a load is no secret
    late = Case(f"{RATE:.0f} calls/s, Poisson", [p.way(partial(_open, p, dice)) for p in parties])
    return [first, *cases[1:], late]


async def _closed(party: Party, in_flight: int, seconds: float) -> tuple[Figures, int]:
    return _figures(await closed_loop(lambda: party.client.echo(TEXT), in_flight, seconds))


async def _open(party: Party, dice: random.Random, seconds: float) -> tuple[Figures, int]:
    return _figures(await open_loop(lambda: party.client.echo(TEXT), RATE, seconds, dice))


async def _plain(seconds: float) -> tuple[Figures, int]:
    from orchestrator.bench import services

    return _figures(await closed_loop(lambda: services.echo.local(TEXT), 1, seconds / 10))


def _figures(load: Load) -> tuple[Figures, int]:
    return {
        "calls_per_second": load.per_second,
        "p50_us": percentile(load.times, 0.50) * 1e6,
        "p99_us": percentile(load.times, 0.99) * 1e6,
    }, len(load.times)


SUITE = Suite(
    name="overhead",
    title="What a call costs",
    about=(
        "An echo of 100 bytes. Caller and server are two processes on one machine; a call of the "
        "library has every policy, label check, metric and decision switched on."
    ),
    bases=(Base("aio", [AIO]), Base("best peer", list(PEERS))),
    columns=(
        Column("calls_per_second", "calls/s", compared=True, more_is_better=True),
        Column("p50_us", "p50 us", compared=True),
        Column("p99_us", "p99 us"),
        Column("caller_cpu_us", "CPU us, caller", 1),
        Column("server_cpu_us", "server", 1),
        Column("cpu_us", "both", 1, compared=True),
    ),
    plotted="calls_per_second",
    open=open_suite,
)
