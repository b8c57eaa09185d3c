"""Pairs of runs that differ in their secrets alone: the cloud must get the same bytes of both.

Non-interference (Goguen and Meseguer 1982), tried on random programs over a real session to a
real node: sizes and order of messages, error paths and streams left early included. Clocks
stand still and ids are fixed, since both are drawn without a look at any value.
"""

import asyncio
import random
import string
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.proofs import flows
from benchmarks.proofs.fleet import Connect, Fleet, running_fleet
from benchmarks.proofs.report import Check, Outcome, Progress, no_progress
from orchestrator.core.errors import CallError
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from orchestrator.core.report import NodeReport
from orchestrator.serving.node import Node
from orchestrator.testing import listening
from orchestrator.wire.channel import Channel
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.inprocess import InProcessChannel
from orchestrator.wire.link import Link
from orchestrator.wire.session import MessageStream
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance

FULL_PAIRS = 10_000
SECRETS = 3
_STEPS = 6
_WAIT_SECONDS = 20.0

Log = list[bytes]


class RecordedStream:
    """A stream of messages that keeps a copy of what goes out."""

    def __init__(self, stream: MessageStream, log: Log) -> None:
        self._stream = stream
        self._log = log
        self.read = stream.read
        self.cancel = stream.cancel

    async def write(self, message: bytes, /) -> None:
        """Note a message, and send it."""
        self._log.append(bytes(message))
        await self._stream.write(message)


class RecordingLink:
    """The way to a node whose sessions are recorded; it outlives the channels over it."""

    def __init__(self, link: Link, log: Log) -> None:
        self._link = link
        self._log = log

    async def opener(self, seconds: float) -> Callable[[], MessageStream]:
        """Return what opens a stream, and note that one is opened."""
        opened = await self._link.opener(seconds)
        self._log.append(b"a session")
        return lambda: RecordedStream(opened(), self._log)

    async def describe(self) -> NodeReport:
        """Ask the node what it is."""
        return await self._link.describe()

    def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        return self._link.watch(interval)

    async def aclose(self) -> None:
        """Stay: the next run goes over the same connection."""


class FixedIds(random.Random):
    """Gives every call the same id: how many were refused before it must not show."""

    def getrandbits(self, k: int, /) -> int:
        """Return a number of so many bits."""
        return 1 << (k - 1)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a program: what it does, with which secret, which text, and how often."""

    kind: str
    secret: int
    text: str
    count: int


Act = Callable[[Step, Labelled[str]], Awaitable[object]]


async def _read(stream: Any, count: int) -> None:
    """Read so many values of a stream, and leave it."""
    try:
        for _ in range(count):
            await anext(stream)
    except StopAsyncIteration:
        pass
    finally:
        await stream.aclose()


async def _masked(step: Step, value: Labelled[str]) -> None:
    await flows.upload.aio(step.text + await flows.mask.aio(value))


async def _beside(step: Step, value: Labelled[str]) -> None:
    work = [flows.mirror.aio(value), flows.upload.aio(step.text), flows.picky.aio(value)]
    await asyncio.gather(*work, return_exceptions=True)


ACTS: Mapping[str, Act] = {
    "upload": lambda step, value: flows.upload.aio(step.text),
    "stream": lambda step, value: _read(flows.chunks.aio(step.text), step.count),
    "fail there": lambda step, value: flows.fail_there.aio(step.text),
    "mirror": lambda step, value: flows.mirror.aio(value),
    "mirror internal": lambda step, value: flows.mirror.aio(Internal(step.text)),
    "anywhere": lambda step, value: flows.anywhere.aio(value.with_value([value.reveal("proof")])),
    "both": lambda step, value: flows.both.aio(Internal(step.text), value),
    "lower": lambda step, value: flows.lower.aio(value),
    "tell": lambda step, value: flows.tell.aio(step.secret),
    "ask and tell": lambda step, value: flows.ask_and_tell.aio(step.secret),
    "slip": lambda step, value: flows.slip.aio(value),
    "slip later": lambda step, value: flows.slip_later.aio(step.secret),
    "slip by error": lambda step, value: flows.slip_by_error.aio(step.secret),
    "picky": lambda step, value: flows.picky.aio(value),
    "late": lambda step, value: _read(flows.late.aio(step.secret), step.count),
    "mask": _masked,
    "mask and send": lambda step, value: flows.mask_and_send.aio(value),
    "mask all and send": lambda step, value: flows.mask_all_and_send.aio(step.secret),
    "beside": _beside,
    "pick and send": lambda step, value: flows.pick_and_send.aio(step.secret),
    "one bit": lambda step, value: flows.one_bit_and_send.aio(step.secret),
}
LEAKS = ("one bit",)
"""What a program does only in the control."""

KNOWN = ("pick and send",)
"""What is known to be told apart."""

_WHY_KNOWN = (
    "a body without labelled arguments learns whether a call on a hidden value failed. If it did, "
    "the body's floor rises and nothing below it follows; that nothing follows is one bit (non-"
    "interference up to termination, as in LIO). Raising the floor at the call would close it, and "
    "keep such a body from every public result; whoever needs that takes the value as an argument."
)


def program(source: random.Random, kinds: Sequence[str]) -> list[Step]:
    """Return a random program."""
    return [
        Step(source.choice(kinds), source.randrange(SECRETS), _text(source), source.randrange(1, 4))
        for _ in range(source.randrange(1, _STEPS + 1))
    ]


def secrets(source: random.Random) -> list[str]:
    """Return random secrets, of any length."""
    return [_text(source) * source.choice((0, 1, 1, 1, 50)) for _ in range(SECRETS)]


def _text(source: random.Random) -> str:
    letters = string.ascii_letters + ' äß€𝄞\n"\\'
    return "".join(source.choices(letters, k=source.randrange(1, 24)))


class Pairs:
    """Runs programs over a fleet whose cloud is behind a recorded session."""

    def __init__(self, fleet: Fleet, log: Log) -> None:
        self._fleet = fleet
        self._log = log
        self.messages = self.bytes = self.failures = 0

    async def run(self, steps: Sequence[Step], hidden: Sequence[str], kind: type[Any]) -> Log:
        """Return the messages that the cloud gets of a program with these secrets."""
        await self._fleet.renew(1)
        self._fleet.random = FixedIds(1)
        self._log.clear()
        values = [kind(text, "pii") for text in hidden]
        flows.VAULT.update(enumerate(values))
        for step in steps:
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await ACTS[step.kind](step, values[step.secret])
            except CallError:
                self.failures += 1
        seen = list(self._log)
        self.messages += len(seen)
        self.bytes += sum(map(len, seen))
        return seen

    async def differ(self, seed: int, kinds: Sequence[str]) -> bool:
        """Say whether two runs of a random program that differ in their secrets can be told."""
        source = random.Random(seed)
        steps, kind = program(source, kinds), source.choice((Sensitive, Secret))
        first = await self.run(steps, secrets(source), kind)
        return first != await self.run(steps, secrets(source), kind)


@asynccontextmanager
async def running_pairs() -> AsyncIterator[Pairs]:
    """Run the fleet of the proof."""
    log: Log = []
    links: list[Link] = []

    def to_cloud(node: Node, clearance: Clearance) -> Channel:
        link = RecordingLink(links[0], log)
        return SessionChannel(addresses[0], clearance, link=link, shared_bytes=0)

    addresses: list[str] = []
    connect: dict[str, Connect] = {"edge": InProcessChannel, "cloud": to_cloud}
    async with (
        running_fleet(flows.SERVICES, connect) as fleet,
        listening(fleet.nodes["cloud"]) as address,
    ):
        addresses.append(address)
        links.append(UnaryChannel(address, fleet.nodes["cloud"].clearance))
        try:
            yield Pairs(fleet, log)
        finally:
            await fleet.aclose()
            with suppress(CallError):
                await links[0].aclose()
            flows.VAULT.clear()


async def prove(
    pairs: int = FULL_PAIRS, seed: int = 1, progress: Progress = no_progress
) -> Outcome:
    """Compare the bytes of many pairs of runs, and find the pairs of a program that leaks."""
    kinds = [kind for kind in ACTS if kind not in LEAKS + KNOWN]
    control = max(pairs // 20, 20)
    async with running_pairs() as two:
        told = []
        for number in range(pairs):
            if await two.differ(seed + number, kinds):
                told.append(seed + number)
            progress(1)
        messages, size, failures = two.messages, two.bytes, two.failures
        found = sum([await two.differ(seed + number, LEAKS) for number in range(control)])
        known = sum([await two.differ(seed + number, KNOWN) for number in range(control)])
    checks = (
        Check(
            "two runs that differ in their secrets alone give the cloud the same bytes",
            f"{len(told)} of {pairs:,} pairs could be told apart{_seeds(told)}",
            not told,
        ),
        Check(
            "the programs talk to the cloud, and fail, often enough",
            f"{messages:,} messages of {size:,} bytes, {failures:,} failed calls",
            messages >= 2 * pairs and failures >= pairs // 2,
        ),
        Check(
            "a declassifier that lets one bit through is found",
            f"{found} of {control} pairs could be told apart",
            found >= control // 4,
        ),
        Check(
            "what follows a call on a hidden value does not tell whether the call failed",
            f"{known} of {control} pairs could be told apart",
            not known,
            _WHY_KNOWN,
        ),
    )
    terms = {"pairs": pairs, "seed": seed, "kinds of step": len(kinds)}
    return Outcome("noninterference", terms, checks)


def _seeds(told: list[int]) -> str:
    return f"; seeds {', '.join(map(str, told[:10]))}" if told else ""
