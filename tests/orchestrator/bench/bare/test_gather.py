import asyncio

from orchestrator.bench.bare.gather import Gatherer


async def test_what_is_ready_together_goes_out_together() -> None:
    messages: list[bytes] = []
    gate = asyncio.Event()

    async def write(message: bytes) -> None:
        messages.append(message)
        await gate.wait()

    gatherer = Gatherer(write)
    writing = asyncio.create_task(gatherer.run())
    gatherer.put(b"1")
    await asyncio.sleep(0)
    for frame in (b"2", b"3"):
        gatherer.put(frame)
    gate.set()
    while len(messages) < 2:
        await asyncio.sleep(0)
    writing.cancel()
    assert messages == [b"1", b"23"]
