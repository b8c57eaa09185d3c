"""Makes the traffic of the capture proof, and ill-treats the nodes meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from benchmarks.proofs.capture.recording import Recorder
from benchmarks.proofs.capture.sides import Side, Sides
from benchmarks.proofs.capture.traffic import KINDS
from benchmarks.proofs.capture.world import World, was_away
from benchmarks.proofs.report import Progress

_CUTS = 10
_PAUSE_SECONDS = 1.0
"""A caller waits so long after it was told that a node is away."""

Trouble = Callable[[], Awaitable[None]]


async def drive(
    world: World, messages: int, sides: Sides, recorder: Recorder, progress: Progress
) -> None:
    """Make so many calls; kill both nodes once and cut all connections ten times meanwhile."""
    in_flight = max(4, min(64, messages // 100))
    troubles = dict(_troubles(messages, sides, recorder))
    names = list(KINDS)
    shares = [KINDS[name].share for name in names]
    todo = iter(range(messages))
    under_way: list[asyncio.Task[None]] = []

    async def keep_calling() -> None:
        """Make one call after the other."""
        for number in todo:
            if trouble := troubles.get(number):
                under_way.append(asyncio.ensure_future(_make(trouble)))
            name = world.source.choices(names, shares)[0]
            end = await KINDS[name].do(world)
            world.ends[name, end] += 1
            progress(1)
            if was_away(end) and end not in KINDS[name].right:
                await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(*(keep_calling() for _ in range(in_flight)))
    await asyncio.gather(*under_way)


async def _make(trouble: Trouble) -> None:
    await trouble()


def _troubles(messages: int, sides: Sides, recorder: Recorder) -> Iterator[tuple[int, Trouble]]:
    """Yield what happens, and before which call."""
    for number in range(1, _CUTS + 1):
        yield messages * number // (_CUTS + 1), recorder.cut
    yield messages * 3 // 10, lambda: _restart(sides.cloud)
    yield messages * 6 // 10, lambda: _restart(sides.edge)


async def _restart(side: Side) -> None:
    await side.kill()
    await side.start()
