"""What each stage of a small call costs: `python -m benchmarks.stages [--json]`.

Every stage runs by itself in short loops, and its best loop counts: in a loop by itself a stage
finds all in the caches, so the stages together cost less than a whole call.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from orchestrator.bench.services import echo
from orchestrator.client import Orchestrator
from orchestrator.core.call import Call, Result, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.core.limits import Wheel
from orchestrator.routing.endpoint import Endpoint
from orchestrator.serving.node import Node
from orchestrator.wire import bodies
from orchestrator.wire.assembler import Assembler
from orchestrator.wire.frames import Kind, encode_frame, encode_message
from orchestrator.wire.guard import let_out
from orchestrator.wire.outbox import Outbox
from orchestrator.wire.payloads import pack, unpack
from policies.facts import PUBLIC, Clearance, Level, Placement

_TEXT = "a" * 100
_LOOPS, _RUNS = 300, 200
_FRAMES = 32
_MIB = 2**20
_ANYTHING = Clearance(Level.SECRET)
_TIMINGS = Timings(0.1, 0.0, 0.05, 3)

Stage = tuple[str, Callable[[], object]]


def microseconds(run: Callable[[], object]) -> float:
    """Return what one run takes in the best of many short loops."""
    best = float("inf")
    for _ in range(_LOOPS):
        began = time.perf_counter()
        for _ in range(_RUNS):
            run()
        best = min(best, time.perf_counter() - began)
    return best / _RUNS * 1e6


def at_once(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("the coroutine waits")


async def of_caller(orchestrator: Orchestrator) -> list[Stage]:
    """Return the stages at the caller, over an open orchestrator with one node in this process."""
    spec, inside = echo.spec, orchestrator._inside
    if inside is None:
        raise RuntimeError("the orchestrator is not open")
    endpoint = inside.directory.endpoints[0]
    router = inside.way.__self__._router  # type: ignore[attr-defined]
    asked = echo._ask((_TEXT,), {})
    call = asked._call()
    packed = pack(call.arguments)
    call = call.packed_as(packed)
    decision = router.decide(call, packed.size)
    reply = b"".join(bodies.encode_reply(_TIMINGS, pack(_TEXT)))
    result = Result(
        _TEXT, "edge", "edge", PUBLIC, decision, _TIMINGS, 1.0, ("edge",), call.id
    )  # fmt: skip
    answers = encode_message([encode_frame(Kind.RESULT, n, reply) for n in range(_FRAMES)])
    assembler, loop = Assembler(_MIB), asyncio.get_running_loop()
    wheel: Wheel[object] = Wheel(lambda waiting: None)
    return [
        ("bind, check and label the arguments", lambda: echo._ask((_TEXT,), {})),
        ("make the call", asked._call),
        ("pack the arguments", lambda: call.packed_as(pack(call.arguments))),
        ("decide", lambda: router.decide(call, packed.size)),
        ("endpoint: place, breaker, statistics", lambda: _at_endpoint(endpoint)),
        ("guard", lambda: let_out(call, _ANYTHING)),
        ("encode the call", lambda: bodies.encode_call(call, packed)),
        ("outbox, its message shared by 32", _outbox(bodies.encode_call(call, packed), Kind.CALL)),
        ("deadline and future", lambda: _waits(wheel, call.deadline, loop)),
        ("frames of a message, one of 32", lambda: list(assembler.whole(answers))),
        ("decode the reply", lambda: unpack(bodies.decode_reply(reply)[0])),
        ("check the result", lambda: result.with_value(spec.schema.load_result(_TEXT))),
    ]


async def of_node(node: Node) -> list[Stage]:
    """Return the stages at the node."""
    call = Call(
        "0" * 16, "0" * 32, echo.spec.name, echo.spec.version, {"text": _TEXT}, PUBLIC,
        Deadline.after(1e6), Placement("edge"),
    )  # fmt: skip
    body = b"".join(bodies.encode_call(call, pack(call.arguments)))
    calls = encode_message([encode_frame(Kind.CALL, n, body) for n in range(_FRAMES)])
    assembler = Assembler(_MIB)
    answer = bodies.encode_reply(_TIMINGS, pack(_TEXT))

    def decode() -> Call:
        return bodies.decode_call(body, "edge", False, 30.0, time.monotonic, _MIB)

    return [
        ("frames of a message, one of 32", lambda: list(assembler.whole(calls))),
        ("decode the call", decode),
        ("admit, run and check in place", lambda: at_once(node.handle(call))),
        ("pack and encode the reply", lambda: bodies.encode_reply(_TIMINGS, pack(_TEXT))),
        ("outbox, its message shared by 32", _outbox(answer, Kind.RESULT)),
    ]


def _at_endpoint(endpoint: Endpoint) -> None:
    endpoint.limiter.enter_now()
    endpoint.breaker.enter()
    endpoint.breaker.succeeded()
    endpoint.limiter.leave()
    endpoint.stats.saw_reply("echo", 1.0, 100, _TIMINGS, 0.1, 3)


def _outbox(body: Any, kind: Kind) -> Callable[[], None]:
    async def nowhere(message: bytes) -> None:
        """Send nothing."""

    outbox, numbers = Outbox(nowhere, lambda: 2 * _FRAMES), iter(range(10**12))

    def put() -> None:
        number = next(numbers)
        outbox.put(kind, number, body)
        if number % _FRAMES == 0:
            outbox._next_message()

    return put


def _waits(wheel: Wheel[object], deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
    slot, answer = wheel.slot(deadline), loop.create_future()
    slot.add(answer)
    slot.discard(answer)


async def measure() -> dict[str, list[tuple[str, float]]]:
    """Return the microseconds of all stages, at the caller and at the node."""
    async with Orchestrator(app=[echo]) as orchestrator:
        for _ in range(1000):
            await echo(_TEXT)
        inside = orchestrator._inside
        if inside is None:
            raise RuntimeError("the orchestrator is not open")
        found = {}
        for name, stages in (
            ("caller", await of_caller(orchestrator)),
            ("node", await of_node(inside.nodes[0])),
        ):
            found[name] = [
                (said, microseconds(run) / (_FRAMES if "of 32" in said else 1))
                for said, run in stages
            ]
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print data for programs")
    options = parser.parse_args()
    found = asyncio.run(measure())
    if options.json:
        print(json.dumps(found))
        return
    for side, stages in found.items():
        print(f"| {side} | us |\n|---|---|")
        for said, taken in stages:
            print(f"| {said} | {taken:.2f} |")
        print(f"| together | {sum(taken for _, taken in stages):.1f} |\n")


if __name__ == "__main__":
    main()
