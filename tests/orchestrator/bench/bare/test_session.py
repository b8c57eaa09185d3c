import asyncio

from orchestrator.bench.bare.running import SESSION, openings


async def test_every_call_on_the_session_gets_its_own_answer() -> None:
    async with dict(openings("echo"))[SESSION]() as party:
        asked = [f"text {number}" for number in range(200)]
        answers = await asyncio.gather(*(party.client.echo(text) for text in asked))
        assert [answer.decode() for answer in answers] == asked
