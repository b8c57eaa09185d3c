"""One run of the capture proof, on the edge's side; its parent reads what it writes.

`python -m benchmarks.proofs.capture.run MESSAGES SEED NAMESPACE FOLDER`; the namespace is that of
the cloud, and empty where a proxy records.
"""

import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.proofs.cancellation import calling
from benchmarks.proofs.capture import app
from benchmarks.proofs.capture.control import Planted, plant
from benchmarks.proofs.capture.drive import drive
from benchmarks.proofs.capture.recording import Recorder, recording
from benchmarks.proofs.capture.sides import Side, new_sides, started
from benchmarks.proofs.capture.sinks import file_piles, search, wire_piles
from benchmarks.proofs.capture.tokens import Tokens
from benchmarks.proofs.capture.traffic import KINDS
from benchmarks.proofs.capture.world import World, was_away

_CANARIES, _PLANTED = 10, 50
"""The most tokens that a call takes on average, and that the control takes."""

_QUIET_SECONDS = 0.5


def new_world(folder: Path, messages: int, seed: int) -> World:
    """Return a run with tokens of its own."""
    return World(
        canaries=Tokens(_CANARIES * messages + _PLANTED, 4 * seed),
        numbers=Tokens(2 * messages + _PLANTED, 4 * seed + 1, digits=True),
        marks=Tokens(messages + _PLANTED, 4 * seed + 2),
        source=random.Random(seed),
        errors=(folder / "errors.txt").open("a"),
    )


async def prove(folder: Path, messages: int, seed: int, namespace: str) -> dict[str, Any]:
    """Make the traffic, plant secrets after it, and search all places for both."""
    edge, cloud = new_sides(folder, namespace)
    world, control = new_world(folder, messages, seed), new_world(folder, 0, seed + 1)
    began = time.monotonic()
    way = folder / "recorded"
    async with recording(way, cloud.address, cable=bool(namespace)) as recorder:
        world.address = control.address = recorder.address
        async with started(edge, cloud, recorder.address) as sides:
            async with calling(sides.settings, app) as caller:
                await drive(world, messages, sides, recorder, _tell)
                while any(caller.problems.values()):  # noqa: ASYNC110  no event tells of it
                    await asyncio.sleep(_QUIET_SECONDS)
                planted = await plant(control)
            await asyncio.sleep(_QUIET_SECONDS)
    world.errors.close()
    control.errors.close()
    traffic_seconds = time.monotonic() - began
    found = _search(folder, (edge, cloud), recorder, (world, control), planted)
    told = {"cable": bool(namespace), "traffic_seconds": traffic_seconds, "ends": _ends(world)}
    told |= {"retried": world.retried, "fell_back": world.fell_back, "cut": recorder.ended}
    return {**told, **found}


def _search(
    folder: Path,
    sides: tuple[Side, Side],
    recorder: Recorder,
    worlds: tuple[World, World],
    planted: list[Planted],
) -> dict[str, Any]:
    began, (world, control) = time.monotonic(), worlds
    wire, piles = wire_piles(recorder.read(), {side.page for side in sides})
    pages = [page for side in sides for page in side.pages]
    piles |= file_piles(folder, pages)
    groups = {"stays": world.canaries, "numbers": world.numbers}
    found = search(groups | {"leaves": world.marks, "planted": control.canaries}, piles)
    missed = [
        each.what
        for each in planted
        if each.number not in found.seen["planted"][each.place].get(each.encoding, ())
    ]
    return {
        "wire": asdict(wire),
        "sizes": {place: sum(map(len, pile)) for place, pile in piles.items()},
        "canaries": world.canaries.given + world.numbers.given,
        "leaks": {place: found.counts("stays")[place] for place in piles},
        "leaked_numbers": found.counts("numbers"),
        "marks": len(world.arrived),
        "marks_seen": len(world.arrived & found.whole["leaves"]),
        "planted": list(dict.fromkeys(each.what for each in planted)),
        "missed": missed,
        "search_seconds": time.monotonic() - began,
    }


def _ends(world: World) -> dict[str, dict[str, int]]:
    """Return how calls of each kind ended: as is right, while a node was away, or wrongly."""
    ends = {name: Counter[str]() for name in KINDS}
    for (name, end), count in world.ends.items():
        kind = KINDS[name]
        if end in kind.right:
            ends[name]["right"] += count
        elif was_away(end) or (kind.private and end.endswith("PrivacyRefused")):
            ends[name]["away"] += count
        else:
            ends[name][f"wrong: {end}"] += count
    return {name: dict(counted) for name, counted in ends.items()}


def _tell(more: int) -> None:
    """Tell the parent of so many more calls."""
    sys.stdout.write(f"{more}\n")


def main() -> None:
    """Run, and write what was found."""
    messages, seed, namespace, name = sys.argv[1:]
    folder = Path(name)
    logging.basicConfig(filename=folder / "caller.log", level=logging.DEBUG)
    found = asyncio.run(prove(folder, int(messages), int(seed), namespace))
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
