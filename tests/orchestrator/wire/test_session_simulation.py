"""A caller and a node on a stream that is lost at any message, in virtual time, by seeds.

The small form runs 20 seeds; the full one is
`ISTHMUS_SIMULATION_SEEDS=1000 pytest tests/orchestrator/wire/test_session_simulation.py`.
"""

import asyncio
import gc
import hashlib
import os
import random
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proofs.virtual_time import VirtualTime
from orchestrator.core.apps import declarations_of
from orchestrator.core.call import Call
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    Overloaded,
    ServiceFailed,
    WireError,
)
from orchestrator.decorators import edge_service
from orchestrator.models.store import ModelStore
from orchestrator.serving.exchange import Exchange
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.serving.session import NodeSession
from orchestrator.testing import FakeRuntime
from orchestrator.wire.bodies import decode_reply, decode_value, encode_call
from orchestrator.wire.frames import Buffer, Kind, decode_message, encode_frame, encode_message
from orchestrator.wire.payloads import pack, unpack
from orchestrator.wire.session import Session
from policies.facts import PUBLIC, Clearance, Level, Placement

A_BATCH = 20
BATCHES = -(-int(os.environ.get("ISTHMUS_SIMULATION_SEEDS", A_BATCH)) // A_BATCH)

CALLS = 40
SMALL = [0, 1, 30, 1000, 20_000]
ANY_SIZE = [*SMALL, 65_000, 66_000, 300_000, 700_000]
MOST = 8 * 2**20

ran: Counter[int] = Counter()
inside: Counter[int] = Counter()


def stamp(number: int, index: int = 0) -> str:
    """Return what only this value of this call may carry."""
    return hashlib.sha256(f"{number}/{index}".encode()).hexdigest()


@edge_service
async def compute(number: int, pause: float, size: int, fails: bool, data: str) -> str:
    ran[number] += 1
    inside[number] += 1
    try:
        await asyncio.sleep(pause)
        if fails:
            raise KeyError(number)
        return stamp(number) + "x" * size
    finally:
        inside[number] -= 1


@edge_service
async def tell(number: int, pause: float, sizes: list[int], data: str) -> AsyncIterator[str]:
    ran[number] += 1
    inside[number] += 1
    try:
        for index, size in enumerate(sizes):
            if pause:
                await asyncio.sleep(pause)
            yield stamp(number, index) + "x" * size
    finally:
        inside[number] -= 1


@dataclass
class Outcome:
    """How one call ended."""

    values: list[str] = field(default_factory=list)
    complete: bool = False
    error: type[BaseException] | None = None
    unsent: bool = False


class World:
    """One node, one caller, and a new stream between them whenever the last one has ended."""

    def __init__(
        self, seed: int, sizes: list[int], new_link: Any, store: Path, *, mixes_up: bool
    ) -> None:
        self.random = random.Random(seed)
        self.sizes = sizes
        self.mixes_up = mixes_up
        self.outcomes: dict[int, list[Outcome]] = {number: [] for number in range(1, CALLS + 1)}
        self.expected: dict[int, list[str]] = {}
        self.ended: list[weakref.ref[Any]] = []
        self._new_link = new_link
        self._store = store
        self._session: Session | None = None
        self._node_session: NodeSession | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._losing: set[asyncio.Task[None]] = set()

    async def live(self) -> None:
        """Live through all calls and losses, and check the ledger."""
        options = NodeOptions(
            name="edge", tier="edge", clearance=Clearance(Level.SECRET), max_in_flight=16
        )
        clock = asyncio.get_running_loop().time
        node = Node(options, FakeRuntime("edge"), ModelStore(self._store), clock)
        await node.start(declarations_of((compute, tell)), LocalCaller(node, clock))
        self.node = node
        try:
            async with asyncio.timeout(300):  # virtual, and longer than any deadline
                await asyncio.gather(*(self._act(number) for number in self.outcomes))
            await asyncio.sleep(30)
            await self._check_quiet()
        finally:
            await self._close()
            await node.aclose()
        self._check_ledger()

    # The caller

    async def _act(self, number: int) -> None:
        await asyncio.sleep(self.random.uniform(0, 1))
        streams = self.random.random() < 0.4
        calling = asyncio.create_task((self._stream if streams else self._call)(number))
        if self.random.random() < 0.25:
            await asyncio.sleep(self.random.choice([0, 0.0005, 0.01, self.random.uniform(0, 0.5)]))
            calling.cancel()
        outcome = Outcome()
        try:
            outcome = await calling
        except asyncio.CancelledError:
            outcome.error = asyncio.CancelledError
        self.outcomes[number].append(outcome)

    async def _call(self, number: int) -> Outcome:
        size, fails = self.random.choice(self.sizes), self.random.random() < 0.1
        self.expected[number] = [stamp(number) + "x" * size]
        request = self._request(compute, number, size=size, fails=fails)
        outcome = Outcome()
        try:
            body = await self._open().call(*request)
            outcome.values.append(unpack(decode_reply(body)[0]))
            outcome.complete = True
        except CallError as error:
            self._note(outcome, error)
        return outcome

    async def _stream(self, number: int) -> Outcome:
        sizes = [self.random.choice(self.sizes) for _ in range(self.random.randrange(30))]
        self.expected[number] = [stamp(number, i) + "x" * size for i, size in enumerate(sizes)]
        leaves_after = self.random.choice([1, 5, 1000, 1000])
        slowness = self.random.choice([0, 0, 0.02])
        outcome = Outcome()
        frames = self._open().stream(*self._request(tell, number, sizes=sizes))
        try:
            async for kind, body in frames:
                if kind is Kind.END:
                    outcome.complete = True
                    continue
                outcome.values.append(unpack(decode_value(body)))
                if len(outcome.values) >= leaves_after:
                    break
                if slowness:
                    await asyncio.sleep(slowness)
        except CallError as error:
            self._note(outcome, error)
        finally:
            await frames.aclose()
        return outcome

    def _request(
        self, service: Any, number: int, **arguments: Any
    ) -> tuple[list[Buffer], Deadline]:
        arguments |= {
            "number": number,
            "pause": self.random.choice([0, 0, 0.001, 0.05]),
            "data": "d" * self.random.choice(self.sizes),
        }
        seconds = self.random.choice([0.02, 0.5, 10.0])
        clock = asyncio.get_running_loop().time
        call = Call(
            id=f"{number:016x}",
            trace="0" * 32,
            service=service.spec.name,
            version="",
            arguments=arguments,
            label=PUBLIC,
            deadline=Deadline.after(seconds, clock),
            placement=Placement("edge"),
        )
        # The caller itself waits longer than the node, and so hears from it.
        return encode_call(call, pack(arguments)), Deadline.after(seconds + 60, clock)

    def _note(self, outcome: Outcome, error: CallError) -> None:
        outcome.error = type(error)
        outcome.unsent = error.retry == "always"

    # The stream between them, and its end

    def _open(self) -> Session:
        if self._session is None or self._session.ended:
            link = self._new_link(
                self.random.randrange(1, 9), lambda: self.random.uniform(0, 0.004)
            )
            if self.mixes_up:
                _mix_up(link)
            self._session = Session(link.caller, "node:1", MOST)
            self._node_session = NodeSession(Exchange(self.node, MOST), link.node, MOST)
            closing = asyncio.Event()
            serving = asyncio.create_task(self._serve(self._node_session, link, closing))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)
            self.ended += [weakref.ref(self._session), weakref.ref(self._node_session)]
            self._doom(link, self._session, serving, closing)
        return self._session

    async def _serve(self, session: NodeSession, link: Any, closing: asyncio.Event) -> None:
        try:
            await session.run(closing)
        except WireError:
            link.lose(details="the node did not understand")
        finally:
            link.finish()

    def _doom(
        self, link: Any, session: Session, serving: "asyncio.Task[None]", closing: asyncio.Event
    ) -> None:
        """Choose the message before which the stream will be lost, and how."""
        left = self.random.choice([*range(1, 40), 100, 10**9])
        loop = asyncio.get_running_loop()

        def blackout() -> None:
            link.to_node.hold()
            link.to_caller.hold()
            loop.call_later(self.random.uniform(0.001, 15), link.lose)

        def close() -> None:
            task = asyncio.create_task(session.aclose())
            self._losing.add(task)
            task.add_done_callback(self._losing.discard)

        lose = self.random.choice([link.lose, blackout, close, serving.cancel, closing.set])

        def passing() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                lose()

        link.to_node.passing = link.to_caller.passing = passing

    # The ledger

    async def _check_quiet(self) -> None:
        """When all is answered, a session that lives on holds nothing of it."""
        assert self.node.admission.inside == 0
        assert not +inside
        assert self._session
        assert self._node_session
        if not self._session.ended:
            assert held_by(self._session) == {}
            assert held_by(self._node_session) == {}

    async def _close(self) -> None:
        if self._session:
            await self._session.aclose()
        for task in [*self._serving, *self._losing]:
            with suppress(asyncio.CancelledError):
                await task
        self._session = self._node_session = None
        await asyncio.sleep(1)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()
        assert [session for gone in self.ended if (session := gone())] == []

    def _check_ledger(self) -> None:
        for number, outcomes in self.outcomes.items():
            (outcome,) = outcomes
            expected = self.expected.get(number, [])
            own = outcome.values == expected[: len(outcome.values)]
            assert own, f"call {number} got what is not its own, or not in order"
            assert ran[number] <= 1
            if outcome.complete:
                assert (outcome.values, ran[number]) == (expected, 1)
            if outcome.unsent:
                assert (ran[number], outcome.values) == (0, [])
            assert outcome.error in (
                None, asyncio.CancelledError, EndpointUnavailable, DeadlineExceeded,
                ServiceFailed, Overloaded,
            )  # fmt: skip


def held_by(thing: Any) -> dict[str, Any]:
    """Return what the collections of a session hold, those of its parts included."""
    names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
    found: dict[str, Any] = {}
    for name in names:
        value = getattr(thing, name, None)
        if isinstance(value, dict | list | set | deque):
            found |= {name: value} if value else {}
        elif type(value).__module__.startswith(("orchestrator.wire", "orchestrator.serving.sess")):
            found |= held_by(value)
    return found


def _mix_up(link: Any) -> None:
    """Make the node give every second answer to the wrong caller."""
    write, last = link.node.write, [b""]

    async def mixing(message: bytes) -> None:
        frames = []
        for kind, number, body in decode_message(message):
            other = last[0] if kind is Kind.RESULT and last[0] else body
            if kind is Kind.RESULT:
                last[0] = body
            frames.append(encode_frame(kind, number, other))
        await write(encode_message(frames))

    link.node.write = mixing


def live(seed: int, sizes: list[int], new_link: Any, store: Path, mixes_up: bool = False) -> World:
    ran.clear()
    inside.clear()
    world = World(seed, sizes, new_link, store, mixes_up=mixes_up)
    try:
        with asyncio.Runner(loop_factory=VirtualTime) as runner:
            runner.run(world.live())
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    return world


def seeds(batch: int) -> range:
    return range(batch * A_BATCH, (batch + 1) * A_BATCH)


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("sizes", [SMALL, ANY_SIZE], ids=["small", "of any size"])
def test_whatever_is_lost_the_ledger_is_right(
    batch: int, sizes: list[int], new_link: Any, tmp_path: Path
) -> None:
    ends: Counter[str] = Counter()
    for seed in seeds(batch):
        world = live(seed, sizes, new_link, tmp_path)
        ends.update(
            outcome.error.__name__ if outcome.error else "well"
            for (outcome,) in world.outcomes.values()
        )
        ends["unsent"] += sum(outcome.unsent for (outcome,) in world.outcomes.values())
    # The positive control: all of it has happened.
    for end in ("well", "CancelledError", "EndpointUnavailable", "ServiceFailed", "unsent"):
        assert ends[end] >= 3


def test_the_same_seed_is_the_same_world(new_link: Any, tmp_path: Path) -> None:
    first, second = (live(3, SMALL, new_link, tmp_path).outcomes for _ in range(2))
    assert first == second


def test_the_ledger_finds_an_answer_that_went_to_the_wrong_caller(
    new_link: Any, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="not its own"):
        live(0, SMALL, new_link, tmp_path, mixes_up=True)
