import pytest

from orchestrator.bench.bare.running import AIO, SYNC
from orchestrator.bench.library import IN_PROCESS, NEARBY, SESSION, UNARY
from orchestrator.bench.parties import Party
from orchestrator.bench.run import run_suite
from orchestrator.bench.suites.streaming import CHUNKS, SUITE, measure
from orchestrator.bench.suites.suite import Options


async def test_one_short_round_measures_every_way_to_stream(tiny: Options) -> None:
    outcome = await run_suite(SUITE, tiny)
    found = {(row.case, row.way) for row in outcome.rows}
    ways = {AIO, SYNC, SESSION, NEARBY, UNARY, IN_PROCESS}
    assert found == {(f"{n} in flight", way) for n in (1, 16) for way in ways}, outcome.absent
    for row in outcome.rows:
        assert 0 < row.medians["first_p50_us"] <= row.medians["first_p99_us"]
        assert row.medians["chunks_per_second"] > 0


async def test_a_stream_without_a_chunk_is_no_measurement() -> None:
    class Empty:
        async def stream(self, count: int):  # type: ignore[no-untyped-def]
            assert count == CHUNKS
            return
            yield

    with pytest.raises(ExceptionGroup) as raised:
        await measure(Party("empty", Empty(), frozenset()), 1, 0.05)
    assert "before its first chunk" in str(raised.value.exceptions[0])
