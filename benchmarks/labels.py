"""What labels and the guard cost a small call: `python -m benchmarks.labels [--json]`.

The same calls in turns, with and without the steps that labels and the guard need: the CPU time
of the process in the best of many short rounds of each, since on a busy machine only those are
undisturbed. The audit writes nothing to a disk. A labelled call
is compared with a public call without these steps: so its envelopes count, on their way through
the checks of arguments, the wire and the checks of results, too.
"""

import argparse
import asyncio
import cProfile
import json
import logging
import pstats
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from benchmarks.proofs.fleet import running_fleet
from orchestrator.core.call import Call
from orchestrator.core.labels import Sensitive
from orchestrator.core.request import Request
from orchestrator.core.running import Running
from orchestrator.core.schema import Schema
from orchestrator.decorators import edge_service
from orchestrator.serving.dataplane import DataPlane
from orchestrator.testing import fresh_catalogue
from orchestrator.wire import inprocess
from orchestrator.wire.inprocess import InProcessChannel
from orchestrator.wire.payloads import pack
from policies.facts import PUBLIC, Clearance, Label

_TEXT = "a" * 100
_CALLS, _ROUNDS = 100, 200
_GOALS = {"public": 3.0, "labelled": 10.0}

with fresh_catalogue():

    @edge_service(inline=True)
    def plain(text: str) -> str:
        """Give a text back."""
        return text

    @edge_service(inline=True)
    def sealed(text: Sensitive[str]) -> Sensitive[str]:
        """Open a text and give it back under its label."""
        return text.with_value(text.value)


@contextmanager
def without_labels() -> Iterator[None]:
    """Leave out what a call does for labels and the guard."""

    def checked(self: DataPlane, stay: Any, value: Any) -> Any:
        """Return a body's value if it fits its annotation."""
        return stay.served.spec.schema.check_result(value)

    def loaded(self: Request, value: Any) -> Any:
        """Return what came back in its declared type."""
        return self.declaration.spec.schema.load_result(value)

    def public(self: Schema, arguments: Any) -> Label:
        """Return no label."""
        return PUBLIC

    def yes(self: object, label: Label) -> bool:
        """Cover everything."""
        return True

    def let_out(call: Call, *rest: Any) -> Any:
        """Return a call's arguments packed."""
        return call.packed or pack(call.arguments)

    with (
        mock.patch.object(DataPlane, "_checked", checked),
        mock.patch.object(Request, "_loaded", loaded),
        mock.patch.object(Running, "raised_floor", PUBLIC),
        mock.patch.object(Schema, "label_of", public),
        mock.patch.object(Clearance, "covers", yes),
        mock.patch.object(Label, "covers", yes),
        mock.patch.object(inprocess, "let_out", let_out),
    ):
        yield


async def _microseconds(work: Callable[[], Awaitable[object]], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        await work()
    return (time.process_time() - began) / calls * 1e6


async def measure(calls: int = _CALLS, rounds: int = _ROUNDS) -> dict[str, dict[str, float]]:
    """Return the microseconds of CPU of a call of each kind, and what labels add to it."""
    logging.getLogger("isthmus").setLevel(logging.WARNING)
    envelope = Sensitive(_TEXT, "pii")
    works: dict[str, Callable[[], Awaitable[object]]] = {
        "public": lambda: plain.aio(_TEXT),
        "labelled": lambda: sealed.aio(envelope),
    }
    found: dict[str, list[float]] = {"without": [], "public": [], "labelled": []}
    async with running_fleet([plain, sealed], {"edge": InProcessChannel}) as fleet:
        await fleet.renew(1)
        for number in range(rounds + 1):
            with without_labels():
                found["without"].append(await _microseconds(works["public"], calls))
            for kind, work in works.items():
                found[kind].append(await _microseconds(work, calls))
            if not number:  # the first round warms everything up
                for times in found.values():
                    times.clear()
    best = {kind: min(times) for kind, times in found.items()}
    return {
        kind: {
            "call": best[kind],
            "without": best["without"],
            "added": best[kind] - best["without"],
            "goal": goal,
        }
        for kind, goal in _GOALS.items()
    }


async def profile(calls: int = 2000) -> None:
    """Print where a labelled call spends its time."""
    async with running_fleet([plain, sealed], {"edge": InProcessChannel}) as fleet:
        await fleet.renew(1)
        envelope = Sensitive(_TEXT, "pii")
        with cProfile.Profile() as profiler:
            for _ in range(calls):
                await sealed.aio(envelope)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print data for programs")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    if options.profile:
        asyncio.run(profile())
        return
    found = asyncio.run(measure())
    if options.json:
        print(json.dumps(found))
        return
    print("| call | whole, us | without labels and guard, us | added, us | at most, us |")
    print("|---|---|---|---|---|")
    for kind, seen in found.items():
        figures = " | ".join(f"{seen[key]:.1f}" for key in ("call", "without", "added"))
        print(f"| {kind} | {figures} | {seen['goal']:.0f} |")


if __name__ == "__main__":
    main()
