import asyncio

import numpy as np

from orchestrator.bench.bare.running import AIO, openings


async def test_the_server_answers_calls_arrays_and_streams() -> None:
    array = np.random.default_rng(1).random(2**20, np.float32)
    async with dict(openings("echo"))[AIO]() as party:
        asked = [f"text {number}" for number in range(50)]
        answers = await asyncio.gather(*(party.client.echo(text) for text in asked))
        assert [answer.decode() for answer in answers] == asked
        assert np.array_equal(await party.client.tensor(array), array)
        assert [len(chunk) async for chunk in party.client.stream(3)] == [20, 20, 20]
