from pathlib import Path

from orchestrator.bench.run import run_suite
from orchestrator.bench.suites.imports import BASE, FULL, QUANTISED, STATEMENTS, SUITE
from orchestrator.bench.suites.suite import Options, PeerOpenings


async def test_one_round_times_every_import_and_every_start(tiny: Options) -> None:
    outcome = await run_suite(SUITE, tiny)
    found = {(row.case, row.way): row for row in outcome.rows}
    expected = {("import", name) for name in STATEMENTS}
    assert found.keys() == expected | {("cold start", n) for n in (FULL, QUANTISED)}, outcome.absent
    for row in outcome.rows:
        assert row.medians["ms"] > 0
        assert row.medians["private_mb"] > 0
    assert found["import", BASE].ratios["ms"][0].median == 1
    small, full = (found["cold start", name].medians["private_mb"] for name in (QUANTISED, FULL))
    assert small < full


async def test_a_peer_that_is_not_installed_is_absent(tiny: Options, tmp_path: Path) -> None:
    from dataclasses import replace

    from orchestrator.bench.peers import find_peers

    peers: list[PeerOpenings] = find_peers("mosec", tmp_path, tmp_path)
    outcome = await run_suite(SUITE, replace(tiny, peers=peers))
    assert "No such file" in outcome.absent["import mosec"]
    assert "there is no" in outcome.absent["mosec, batching"]
    assert {row.way for row in outcome.rows} == {*STATEMENTS, FULL, QUANTISED}
