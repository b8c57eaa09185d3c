"""The mix of calls: each kind says how it has to end. A new way for data is one function more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.proofs.bodies import call_of
from benchmarks.proofs.capture import app
from benchmarks.proofs.capture.world import World
from orchestrator import Internal, Labelled, Secret, Sensitive
from orchestrator.core.call import Chunks
from orchestrator.core.errors import CallError
from orchestrator.wire.unary import UnaryChannel
from policies.facts import PUBLIC, Clearance, Label, Level

CLEARANCE = Clearance(Level.INTERNAL, frozenset({"ops"}))
"""What the settings let go to the cloud."""

ANSWERED, REFUSED = "answered", "PrivacyRefused"
_CHUNKS = 3
_LARGE = 2**16

Do = Callable[[World], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call.

    Attributes:
        do: Makes one and says how it ended.
        right: How it may end while all nodes are there.
        share: How often it is made.
        private: Whether it carries what must stay, so that it is refused rather than sent.
    """

    do: Do
    right: frozenset[str]
    share: int = 2
    private: bool = True


async def _public(world: World) -> str:
    mark, number = world.mark()
    end = await world.end_of(app.echo(mark))
    if end == ANSWERED:
        world.arrived.add(number)
    return end


async def _public_large(world: World) -> str:
    mark, number = world.mark()
    end = await world.end_of(app.swallow(mark.encode() * (_LARGE // len(mark))))
    if end == ANSWERED:
        world.arrived.add(number)
    return end


async def _public_falls_back(world: World) -> str:
    service, home = world.source.choice([(app.tally, "cloud"), (app.tally_here, "edge")])
    mark, number = world.mark()
    try:
        result = await service.call(mark)
    except CallError as error:
        return world.complain(error)
    world.retried += len(result.attempts) > 1
    world.fell_back += result.tier != home
    if result.tier == "cloud":
        world.arrived.add(number)
    return ANSWERED


async def _public_stream(world: World) -> str:
    mark, number = world.mark()
    end = await world.end_of(_drain(app.drip(mark, _CHUNKS)))
    if end == ANSWERED:
        world.arrived.add(number)
    return end


async def _public_error(world: World) -> str:
    return await world.end_of(app.stumble(world.mark()[0]))


async def _public_unary(world: World) -> str:
    (mark, number), stream = world.mark(), world.source.random() < 0.5
    service, arguments = (
        ("drip", {"mark": mark, "count": 2}) if stream else ("echo", {"mark": mark})
    )
    end = await _unary(world, service, arguments, PUBLIC, stream=stream)
    if end == ANSWERED:
        world.arrived.add(number)
    return end


async def _private_unary(world: World) -> str:
    stream, label = world.source.random() < 0.5, Label(Level.SENSITIVE)
    sealed = Sensitive([world.canary()])
    if world.source.random() < 0.5:
        label = PUBLIC  # the envelope has to speak for itself
    return await _unary(world, "archive", {"texts": sealed}, label, stream=stream)


async def _cleared(world: World) -> str:
    mark, number = world.mark()
    end = await world.end_of(app.note.aio(Internal(mark, "ops")))
    if end == ANSWERED:
        world.arrived.add(number)
    return end


async def _other_category(world: World) -> str:
    return await world.end_of(app.note.aio(Internal(world.canary(), "phi")))


async def _above_clearance(world: World) -> str:
    envelope = world.source.choice((Sensitive, Secret, Labelled))
    return await world.end_of(app.archive.aio(envelope([world.canary(), world.canary()])))


async def _for_a_plain_parameter(world: World) -> str:
    given: Any = Sensitive(world.canary())
    return await world.end_of(app.echo(given))


async def _of_a_wrong_type(world: World) -> str:
    given: Any = Sensitive({world.canary(): world.canary()})
    return await world.end_of(app.admit.aio(given))


async def _falls_back(world: World) -> str:
    try:
        result = await app.weigh.aio.call(Secret(world.canary(), "phi"))
    except CallError as error:
        return world.complain(error)
    return ANSWERED if result.tier == "edge" else "answered by the cloud"


def _patient(world: World) -> app.Patient:
    history = [{world.canary(): world.canary()}, {"seen": world.canary()}]
    return app.Patient(world.canary(), world.numbers.number(), history, world.canary().encode() * 2)


async def _record(world: World) -> str:
    return await world.end_of(app.admit.aio(Sensitive(_patient(world), "phi")))


async def _record_of_records(world: World) -> str:
    patients = {world.canary(): _patient(world)}
    given = app.Visit(reason=world.canary(), patients=patients)
    return await world.end_of(app.visit.aio(Sensitive(given)))


async def _inside_of_plain(world: World) -> str:
    entries = {world.canary(): world.numbers.number()}
    words = {"a": Sensitive([world.canary()]), "b": Sensitive([world.canary(), world.canary()])}
    return await world.end_of(app.index.aio(words, Sensitive(entries)))


async def _arrays(world: World) -> str:
    pixels = np.frombuffer(world.canary().encode() * 4, np.float32)
    return await world.end_of(
        app.scan.aio(Sensitive(pixels), Sensitive(world.canary().encode() * 8))
    )


async def _large(world: World) -> str:
    raw = world.canary().encode() * (_LARGE // 32)
    pixels = np.frombuffer(world.canary().encode() * (_LARGE // 32), np.float32)
    return await world.end_of(app.scan.aio(Sensitive(pixels), Sensitive(raw)))


async def _batch(world: World) -> str:
    texts = "".join(world.canary() for _ in range(world.source.randint(1, 3)))
    rows = np.frombuffer(texts.encode(), np.int64).reshape(-1, 4)
    return await world.end_of(app.checksum(Sensitive(rows)))


async def _stream(world: World) -> str:
    return await world.end_of(_drain(app.dictate(Sensitive(world.canary()), _CHUNKS)))


async def _error(world: World) -> str:
    return await world.end_of(app.fail.aio(Sensitive(world.canary())))


async def _late(world: World) -> str:
    call = app.brood.options(deadline=world.source.uniform(0.001, 0.05))
    return await world.end_of(call(Sensitive(world.canary())))


async def _cancelled(world: World) -> str:
    public = world.source.random() < 0.3
    call = app.ponder(world.mark()[0]) if public else app.brood(Sensitive(world.canary()))
    task = asyncio.ensure_future(world.end_of(call))
    asyncio.get_running_loop().call_later(world.source.uniform(0, 0.03), task.cancel)
    try:
        return await task
    except asyncio.CancelledError as error:
        world.complain(error)
        return "cancelled"


async def _nested_slip(world: World) -> str:
    try:
        told = await app.slip(Sensitive(world.canary()))
    except CallError as error:
        return world.complain(error)
    return told.reveal("the proof asks how it ended")


async def _nested_redacted(world: World) -> str:
    mark, number = world.mark()
    end = await world.end_of(app.redact(Sensitive(world.canary()), mark))
    if end == ANSWERED:
        world.arrived.add(number)
    return end


async def _pseudonymised(world: World) -> str:
    (mark, number), address = world.mark(), f"{world.canary()}@{world.canary()}.example"
    said = f"Write to {address} of {mark}."
    try:
        told = await app.summarise.aio(Sensitive(said))
    except CallError as error:
        return world.complain(error)
    world.arrived.add(number)
    restored = told.reveal("the proof compares it") == f"It says: {said}"
    return ANSWERED if restored else "answered and not restored"


async def _drain(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


async def _unary(
    world: World, service: str, arguments: dict[str, Any], label: Label, *, stream: bool
) -> str:
    """Make a call by a single RPC, on a connection of its own."""
    channel = UnaryChannel(world.address, CLEARANCE)
    call = call_of(service, stream=stream, arguments=arguments, label=label)
    try:
        reply = await channel.send(call)
        if isinstance(reply.value, Chunks):
            await _drain(reply.value)
    except CallError as error:
        return world.complain(error)
    finally:
        await channel.aclose()
    return ANSWERED


def _only(*ends: str) -> frozenset[str]:
    return frozenset(ends)


KINDS = {
    "public": Kind(_public, _only(ANSWERED), 30, private=False),
    "public large": Kind(_public_large, _only(ANSWERED), 1, private=False),
    "public, falls back": Kind(_public_falls_back, _only(ANSWERED), 10, private=False),
    "public stream": Kind(_public_stream, _only(ANSWERED), 4, private=False),
    "public unary": Kind(_public_unary, _only(ANSWERED), 1, private=False),
    "public error": Kind(_public_error, _only("ServiceFailed ValueError"), private=False),
    "cleared": Kind(_cleared, _only(ANSWERED), 4, private=False),
    "redacted, nested": Kind(_nested_redacted, _only(ANSWERED), 4, private=False),
    "pseudonymised": Kind(_pseudonymised, _only(ANSWERED), 4),
    "slip, nested": Kind(_nested_slip, _only("refused refused"), 4),
    "unary": Kind(_private_unary, _only(REFUSED)),
    "other category": Kind(_other_category, _only(REFUSED)),
    "above clearance": Kind(_above_clearance, _only(REFUSED), 4),
    "for a plain parameter": Kind(_for_a_plain_parameter, _only(REFUSED)),
    "of a wrong type": Kind(_of_a_wrong_type, _only("InvalidInput")),
    "cloud, falls back": Kind(_falls_back, _only(ANSWERED), 8),
    "record": Kind(_record, _only(ANSWERED), 6),
    "edge, record of records": Kind(_record_of_records, _only(ANSWERED), 6),
    "inside of plain": Kind(_inside_of_plain, _only(ANSWERED), 4),
    "arrays": Kind(_arrays, _only(ANSWERED), 4),
    "large": Kind(_large, _only(ANSWERED), 1),
    "batch": Kind(_batch, _only(ANSWERED), 4),
    "stream": Kind(_stream, _only(ANSWERED), 4),
    "error": Kind(_error, _only("ServiceFailed LookupError"), 4),
    "late": Kind(_late, _only("DeadlineExceeded")),
    "cancelled": Kind(_cancelled, _only("cancelled")),
}
