from orchestrator.bench.bare.running import AIO, GATHERING, SESSION, SYNC
from orchestrator.bench.library import IN_PROCESS, NEARBY, UNIX
from orchestrator.bench.library import SESSION as ROUTED
from orchestrator.bench.run import run_suite
from orchestrator.bench.suites.overhead import PLAIN, SUITE
from orchestrator.bench.suites.suite import Options


async def test_one_short_round_measures_every_transport_at_every_load(tiny: Options) -> None:
    outcome = await run_suite(SUITE, tiny)
    found = {(row.case, row.way): row for row in outcome.rows}
    cases = ["1 in flight", "16 in flight", "64 in flight", "200 calls/s, Poisson"]
    ways = {AIO, SYNC, GATHERING, SESSION, ROUTED, NEARBY, UNIX, IN_PROCESS}
    assert {case for case, _ in found} == set(cases)
    for case in cases:
        assert {way for its_case, way in found if its_case == case} >= ways, outcome.absent
    for row in outcome.rows:
        assert row.medians["calls_per_second"] > 0
        assert 0 < row.medians["p50_us"] <= row.medians["p99_us"]
        near = row.way in (IN_PROCESS, PLAIN)
        assert (row.medians["server_cpu_us"] == 0) == near
        assert row.ratios["p50_us"][0].median > 0
    assert found["1 in flight", AIO].ratios["p50_us"][0].median == 1
    assert ("1 in flight", PLAIN) in found
    assert not outcome.absent
