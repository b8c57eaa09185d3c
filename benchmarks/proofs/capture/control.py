"""The positive control: secrets planted in every place and encoding, and sent with no guard."""

import asyncio
import base64
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from benchmarks.proofs.capture import app
from benchmarks.proofs.capture.traffic import KINDS
from benchmarks.proofs.capture.world import World
from orchestrator import Sensitive
from orchestrator.core.errors import InvalidInput
from policies.facts import Clearance, Label
from protos.isthmus.v1 import node_pb2 as pb
from protos.isthmus.v1.node_pb2_grpc import NodeStub

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes.upper,
    "reversed": lambda text: text[::-1],
    "base64": lambda text: base64.urlsafe_b64encode(b"x" + text),
    "hex": lambda text: text.hex().upper().encode(),
    "url": lambda text: "".join(f"%{byte:02X}" for byte in text).encode(),
    "utf-16": lambda text: text.decode().encode("utf-16-be"),
    "utf-32": lambda text: text.decode().encode("utf-32-le"),
}

UNGUARDED = ("above clearance", "other category", "cloud, falls back")
"""Kinds of calls that leave at once when nothing guards them."""

_TIMES = 5
_WIRE = "bytes on the wire"
_log = logging.getLogger("isthmus.planted")


@dataclass(frozen=True, slots=True)
class Planted:
    """One secret that has to be found.

    Attributes:
        what: How it got there.
        place: Where it has to be found.
        number: Its number.
        encoding: How it is written there.
    """

    what: str
    place: str
    number: int
    encoding: str = "plain"


async def plant(world: World) -> list[Planted]:
    """Put secrets everywhere; the orchestrator of the run has to be open."""
    planted = []

    def secret(what: str, place: str = _WIRE, encoding: str = "plain") -> str:
        planted.append(Planted(what, place, world.canaries.given, encoding))
        return world.canary()

    with guard_off():  # the node refuses some, and by then they have left
        for kind in UNGUARDED * _TIMES:
            first = world.canaries.given
            await KINDS[kind].do(world)
            numbers = range(first, world.canaries.given)
            planted += [Planted(f"no guard: {kind}", _WIRE, number) for number in numbers]
    for name, encode in ENCODINGS.items():
        await app.swallow(encode(secret(name, encoding=name).encode()))
    halves = secret("in two halves")
    await asyncio.gather(app.echo(halves[:16]), app.echo(halves[16:]))
    await _send_metadata(world.address, secret("metadata", "headers on the wire"))
    places = {
        "log": "logs of both nodes",
        "file": "files",
        "metric": "pages of metrics",
        "audit": "audit logs",
    }
    for where, place in places.items():
        await app.confess.aio(Sensitive(secret(f"a body's {where}", place)), where)
    _log.warning("it is %s", secret("own log", "log of the caller"))
    world.complain(InvalidInput(secret("error", "errors, as callers get them")))
    return planted


@contextmanager
def guard_off() -> Iterator[None]:
    """Let everything go everywhere: the rule for privacy and the guard ask the same question."""
    right = Clearance.covers

    def covers(self: Clearance, label: Label) -> bool:
        return True

    Clearance.covers = covers  # type: ignore[method-assign]
    try:
        yield
    finally:
        Clearance.covers = right  # type: ignore[method-assign]


async def _send_metadata(address: str, text: str) -> None:
    """Send a header, which travels compressed: it does not stand in the bytes as they are."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = NodeStub(channel)
        await stub.Describe(pb.DescribeRequest(), metadata=(("note", text),), wait_for_ready=True)
