"""What a peer that means harm can take from a node or a caller, and who is served meanwhile."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.proofs import app
from benchmarks.proofs.bodies import call_of
from benchmarks.proofs.cancellation import calling
from benchmarks.proofs.cases import BY_CALLERS, BY_NODES, Case
from benchmarks.proofs.checksums import expected, random_rows
from benchmarks.proofs.daemon import APP, Daemon, edge_node, process_of
from benchmarks.proofs.hostile_caller import MAX_CALL_MIB, MAX_IN_FLIGHT, MIB
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from benchmarks.proofs.resources import memory_of
from orchestrator.core.errors import CallError
from orchestrator.testing import free_port
from orchestrator.wire.dialled import SessionChannel
from policies.facts import Clearance, Level

SECONDS = 4.0
"""How long each attack goes on in the full form."""

_WATCH_SECONDS = 0.02
_LEAVING_SECONDS = 0.3
_AGAIN_SECONDS = 0.05
_HELD_UP_SECONDS = 10.0

LIMITS: Mapping[str, Any] = {"max_in_flight": MAX_IN_FLIGHT, "max_call_mib": MAX_CALL_MIB}


@dataclass(frozen=True, slots=True)
class Suffered:
    """What an attack did.

    Attributes:
        grown: Bytes that the victim took beyond what it held before, at the worst moment.
        kept: Bytes that it still holds after the attacker has left.
        ends: How the calls of an honest caller ended meanwhile.
    """

    grown: int
    kept: int
    ends: Counter[str]

    @property
    def others_served(self) -> bool:
        """Whether every honest call was answered, and there were some."""
        return self.ends["answered"] == self.ends.total() > 0


@asynccontextmanager
async def watched(process: int) -> AsyncIterator[list[int]]:
    """Look at a process's memory all the time."""
    seen = [memory_of(process)]

    async def watch() -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            seen.append(memory_of(process))

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()


async def honest_calls(ends: Counter[str], going_on: Callable[[], bool]) -> None:
    """Make one call after the other and write down how they end."""
    source = random.Random(1)
    while going_on():
        rows = random_rows(source)
        try:
            answer = await app.checksum.options(deadline=20.0)(rows)
            ends["answered" if answer.tolist() == expected(rows) else "wrong"] += 1
        except CallError as error:
            ends[f"{type(error).__name__}: {error}"] += 1
        await asyncio.sleep(0.005)


async def harm_node(
    store: Path, case: Case, seconds: float, limits: Mapping[str, Any] = LIMITS
) -> Suffered:
    """Let a caller attack a fresh node, with an honest caller beside.

    Args:
        store: The model store of the node.
        case: What the hostile caller does.
        seconds: How long it goes on when it has done all it does.
        limits: What the node allows.
    """
    async with edge_node(store, APP, **limits) as node, _honest(node) as ends:
        async with watched(node.process) as seen:
            arguments = ("benchmarks.proofs.hostile_caller", node.address, case.name)
            async with process_of(*arguments) as hostile:
                await _while_honest(_done(hostile, seconds), ends)
        await asyncio.sleep(_LEAVING_SECONDS)
        kept = memory_of(node.process)
    return Suffered(max(seen) - seen[0], kept - seen[0], ends)


async def harm_caller(
    node: Daemon, case: Case, seconds: float, call_mib: int = MAX_CALL_MIB
) -> Suffered:
    """Let a fresh node attack this process, with an honest node beside.

    Args:
        node: The honest node.
        case: What the hostile node does.
        seconds: For how long.
        call_mib: The most that a call of this process may carry.
    """
    port = free_port()
    public = Clearance(Level.PUBLIC)
    channel = SessionChannel(f"127.0.0.1:{port}", public, max_bytes=call_mib * MIB)
    arguments = ("benchmarks.proofs.hostile_node", str(port), case.name)
    async with _honest(node) as ends, process_of(*arguments) as hostile:
        await _said(hostile)
        async with watched(os.getpid()) as seen:
            using = asyncio.create_task(_use(channel, case.stream))
            await _while_honest(asyncio.sleep(seconds * case.patience), ends)
            using.cancel()
            await asyncio.wait([using])
        await channel.aclose()
        await asyncio.sleep(_LEAVING_SECONDS)
        kept = memory_of(os.getpid())
    return Suffered(max(seen) - seen[0], kept - seen[0], ends)


async def _done(hostile: asyncio.subprocess.Process, seconds: float) -> None:
    await _said(hostile)
    await asyncio.sleep(seconds)


async def _said(hostile: asyncio.subprocess.Process) -> None:
    """Wait until the hostile process says a line; one that is held up may never say it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_HELD_UP_SECONDS):
            if hostile.stdout and not await hostile.stdout.readline():
                raise RuntimeError("the hostile peer ended before it had done its harm")


@asynccontextmanager
async def _honest(node: Daemon) -> AsyncIterator[Counter[str]]:
    """Open the way to a node, and use it a little, so that nothing of that counts later."""
    async with calling(node.settings, app):
        await _while_honest(asyncio.sleep(0.3), Counter())
        yield Counter()


async def _while_honest(harm: Awaitable[None], ends: Counter[str]) -> None:
    harming = asyncio.ensure_future(harm)
    await honest_calls(ends, lambda: not harming.done())
    await harming


async def _use(channel: SessionChannel, stream: bool) -> None:
    """Call the hostile node; read one value of a stream, and then be busy with other things."""
    call = call_of("any", 60.0, stream)
    while True:
        with suppress(CallError):
            reply = await channel.send(call)
            if stream:
                await anext(reply.value)
                await asyncio.Event().wait()
        await asyncio.sleep(_AGAIN_SECONDS)


async def prove(store: Path, seconds: float = SECONDS, progress: Progress = no_progress) -> Outcome:
    """Attack nodes and callers in every way, and see what they take."""
    checks: list[Check] = []
    for case in BY_CALLERS:
        checks += checks_of(case, "node", await harm_node(store, case, seconds))
        progress(1)
    async with edge_node(store) as node:
        for case in BY_NODES:
            checks += checks_of(case, "caller", await harm_caller(node, case, seconds))
            progress(1)
    checks.append(await control(store))
    return Outcome("abuse", {"seconds a case": seconds, **LIMITS}, tuple(checks))


async def control(store: Path, seconds: float = 1.5) -> Check:
    """Return whether the same checks find victims whose limits are off."""
    endless, many = Case("endless body"), Case("many calls")
    careless = await harm_node(store, endless, seconds, {"max_call_mib": 256})
    tight = await harm_node(store, many, seconds, {"max_in_flight": 1})
    async with edge_node(store) as node:
        caller = await harm_caller(node, endless, seconds, call_mib=256)
    found = (
        not checks_of(endless, "node", careless)[0].holds,
        not checks_of(many, "node", tight)[1].holds,
        not checks_of(endless, "caller", caller)[0].holds,
    )
    return Check(
        "the positive control: without limits growth and hunger are seen",
        f"the node grew by {careless.grown / MIB:.0f} MiB, the caller by "
        f"{caller.grown / MIB:.0f} MiB, {tight.ends.total() - tight.ends['answered']} of "
        f"{tight.ends.total()} calls of others failed",
        all(found),
    )


def checks_of(case: Case, victim: str, found: Suffered) -> list[Check]:
    """Return what an attack must not reach."""
    grown, kept = found.grown / MIB, found.kept / MIB
    return [
        Check(
            f"{case.name}: the {victim} grows by at most {case.most_mib} MiB",
            f"{grown:.1f} MiB, {kept:.1f} afterwards",
            grown <= case.most_mib,
            case.unbounded,
        ),
        Check(
            f"{case.name}: others are served meanwhile",
            ", ".join(f"{count:,} {end}" for end, count in found.ends.items()),
            found.others_served,
            case.starves,
        ),
    ]
