"""What a routed call costs, against bare unary grpc.aio and a routed call in one process.

Run `python -m benchmarks.overhead`. Caller and node are two processes on this machine, every
policy, label check and metric is on, and the transports take turns inside each round: on a
noisy machine the ratios mean more than the times.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import grpc

from benchmarks.echo import echo
from orchestrator import Orchestrator
from orchestrator.core.context import calling_through
from orchestrator.testing import free_port

TEXT = "a" * 100

Once = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one transport did in one round: microseconds, and calls a second."""

    calls_per_second: float
    p50_us: float
    p99_us: float
    caller_cpu_us: float
    node_cpu_us: float


async def drive(once: Once, in_flight: int, seconds: float, process: int | None) -> Figures:
    """Keep so many calls in flight for a while, in a closed loop."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def keep_calling() -> None:
        """Make one call after the other."""
        while (began := time.perf_counter()) < end:
            await once()
            times.append(time.perf_counter() - began)

    node_cpu, cpu, began = _cpu_of(process), time.process_time(), time.perf_counter()
    await asyncio.gather(*(keep_calling() for _ in range(in_flight)))
    elapsed, count = time.perf_counter() - began, len(times)
    times.sort()
    return Figures(
        calls_per_second=count / elapsed,
        p50_us=times[count // 2] * 1e6,
        p99_us=times[count * 99 // 100] * 1e6,
        caller_cpu_us=(time.process_time() - cpu) / count * 1e6,
        node_cpu_us=(_cpu_of(process) - node_cpu) / count * 1e6,
    )


def _cpu_of(process: int | None) -> float:
    if process is None:
        return 0.0
    with open(f"/proc/{process}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _process(*command: str) -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def transports() -> AsyncIterator[dict[str, tuple[Once, int | None]]]:
    """Start both servers; give each way to call, with the process that answers."""
    bare, port = free_port(), free_port()
    with (
        _process("benchmarks.bare", str(bare)) as bare_process,
        _process("edge_node", "--app", "benchmarks.echo", "--port", str(port)) as node,
    ):
        entry = {"name": "edge", "tier": "edge", "address": f"127.0.0.1:{port}", "insecure": True}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{bare}") as channel:
            await channel.channel_ready()
            plain: Any = channel.unary_unary("/bare.Bare/Echo")
            far, near = Orchestrator({"nodes": [entry]}), Orchestrator(app=[echo])
            async with near, far:
                await _until_ready(far)

                async def bare_once() -> None:
                    """Call without anything of the library."""
                    await plain(TEXT.encode())

                async def far_once() -> None:
                    """Call over a session."""
                    with calling_through(far):
                        await echo(TEXT)

                async def near_once() -> None:
                    """Call inside this process."""
                    with calling_through(near):
                        await echo(TEXT)

                yield {
                    "bare unary grpc.aio": (bare_once, bare_process),
                    "routed, over a session": (far_once, node),
                    "routed, in process": (near_once, None),
                }


async def _until_ready(orchestrator: Orchestrator) -> None:
    while any(orchestrator.problems.values()):  # noqa: ASYNC110  no event tells of it
        await asyncio.sleep(0.05)


async def measure(in_flight: int, rounds: int, seconds: float) -> dict[str, list[Figures]]:
    """Return the figures of every transport in every round."""
    async with transports() as ways:
        found: dict[str, list[Figures]] = {name: [] for name in ways}
        for once, process in ways.values():
            await drive(once, in_flight, 0.5, process)
        for _ in range(rounds):
            for name, (once, process) in ways.items():
                found[name].append(await drive(once, in_flight, seconds, process))
        return found


def summary(found: dict[str, list[Figures]]) -> dict[str, dict[str, float]]:
    """Return medians, and the medians of the ratios to the first transport within each round."""
    base = next(iter(found.values()))
    rows = {}
    for name, rounds in found.items():
        row = {key: statistics.median(asdict(r)[key] for r in rounds) for key in asdict(rounds[0])}
        pairs = list(zip(rounds, base, strict=True))
        row["calls_ratio"] = statistics.median(
            r.calls_per_second / b.calls_per_second for r, b in pairs
        )
        row["p50_ratio"] = statistics.median(r.p50_us / b.p50_us for r, b in pairs)
        rows[name] = {key: round(value, 2) for key, value in row.items()}
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true", help="print data for programs")
    options = parser.parse_args()
    all_rows = {}
    for in_flight in (1, 16, 64):
        rows = summary(asyncio.run(measure(in_flight, options.rounds, options.seconds)))
        all_rows[in_flight] = rows
        if options.json:
            continue
        print(f"{in_flight} in flight, load {os.getloadavg()[0]:.1f}")
        print(f"  {'':24}{'calls/s':>9}{'ratio':>7}{'p50 us':>9}{'ratio':>7}{'p99 us':>9}  CPU us")
        for name, row in rows.items():
            print(
                f"  {name:24}{row['calls_per_second']:9,.0f}{row['calls_ratio']:7.2f}"
                f"{row['p50_us']:9,.0f}{row['p50_ratio']:7.2f}{row['p99_us']:9,.0f}"
                f"  {row['caller_cpu_us']:.0f} + {row['node_cpu_us']:.0f}"
            )
    if options.json:
        print(json.dumps(all_rows))


if __name__ == "__main__":
    main()
