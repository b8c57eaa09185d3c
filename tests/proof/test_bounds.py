"""What is known to grow without bound, each in its smallest form: the marks go with the causes."""

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest

from benchmarks.proofs.bodies import chunk_body
from benchmarks.proofs.targets import Scripted
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import CallError
from orchestrator.core.limits import Wheel
from orchestrator.wire.frames import WINDOW_BYTES, Kind, encode_frame
from orchestrator.wire.session import Session

YEAR = 365 * 86400.0
MIB = 2**20


async def left_behind(seconds: float, step: float) -> int:
    """Return the bytes that a wheel keeps of waits that all have ended."""
    wheel: Wheel[str] = Wheel(str)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(5000):
            slot = wheel.slot(Deadline.after(seconds + step * number))
            slot.add("waits")
            slot.discard("waits")
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def test_a_wheel_forgets_waits_of_one_time() -> None:
    assert await left_behind(YEAR, step=0.0) < 100_000


async def test_a_wheel_forgets_waits_of_many_times() -> None:
    assert await left_behind(YEAR, step=1.0) < 100_000


async def cut_after(chunk: bytes, count: int, most: int) -> bool:
    """Say whether a session ends by itself when a node sends so many chunks that nobody reads."""

    def messages() -> Iterator[bytes]:
        yield from (encode_frame(Kind.CHUNK, 1, chunk) for _ in range(count))

    session = Session(Scripted(messages()), "node:1", most)
    frames = session.stream(b"", Deadline.after(60.0))
    await anext(frames)  # reads one chunk, and then no more until all has come
    while not session.ended:
        await asyncio.sleep(0)
    with pytest.raises(CallError) as caught:
        async for _ in frames:
            pass
    await session.aclose()
    return "more than its credit" in str(caught.value)


async def test_a_node_that_sends_chunks_beyond_all_limits_is_cut() -> None:
    assert await cut_after(chunk_body(bytes(MIB // 4)), 40, most=4 * MIB)


async def test_a_node_that_sends_chunks_beyond_their_window_is_cut() -> None:
    chunk = chunk_body(bytes(MIB // 4))
    assert await cut_after(chunk, 3 * WINDOW_BYTES // len(chunk), most=160 * MIB)


async def test_a_node_that_sends_empty_chunks_without_end_is_cut() -> None:
    assert await cut_after(b"", 100_000, most=4 * MIB)
