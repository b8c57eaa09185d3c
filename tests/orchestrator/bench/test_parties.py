from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext

from orchestrator.bench.parties import Party, open_all
from orchestrator.bench.turns import CannotRunError, Figures


async def measure(seconds: float) -> tuple[Figures, int]:
    return {}, 1


async def test_who_cannot_start_is_absent_and_who_can_is_ended_at_the_end() -> None:
    ended, said = [], list[str]()

    @asynccontextmanager
    async def good() -> AsyncIterator[Party]:
        yield Party("good", None, frozenset())
        ended.append("good")

    @asynccontextmanager
    async def bad() -> AsyncIterator[Party]:
        raise CannotRunError("no such package")
        yield

    async with AsyncExitStack() as stack:
        wanted = [("bad", bad), ("good", good)]
        parties, absent = await open_all(wanted, stack, said.append)
        assert [party.name for party in parties] == ["good"]
        assert absent == {"bad": "no such package"}
        assert ended == []
    assert ended == ["good"]
    assert said == ["starting bad", "starting good"]


def test_a_party_in_this_process_is_a_way_without_a_server() -> None:
    way = Party("near", None, frozenset()).way(measure)
    assert (way.name, way.server, way.awake) == ("near", None, nullcontext)
