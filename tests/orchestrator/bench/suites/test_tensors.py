import numpy as np
import pytest

from orchestrator.bench.bare.running import AIO, SYNC
from orchestrator.bench.library import IN_PROCESS, NEARBY, SESSION, UNIX
from orchestrator.bench.parties import Floats, Party
from orchestrator.bench.run import run_suite
from orchestrator.bench.suites.suite import Options
from orchestrator.bench.suites.tensors import SUITE, measure


async def test_one_short_round_moves_arrays_of_both_sizes(tiny: Options) -> None:
    outcome = await run_suite(SUITE, tiny)
    found = {(row.case, row.way): row for row in outcome.rows}
    ways = {AIO, SYNC, SESSION, UNIX, NEARBY, IN_PROCESS}
    assert found.keys() >= {(f"{n} MB", way) for n in (1, 16) for way in ways}, outcome.absent
    for row in outcome.rows:
        assert row.medians["mb_per_second"] > 0
        assert [ratio.base for ratio in row.ratios["mb_per_second"]] == ["sync", "aio"]
    assert found["16 MB", SYNC].medians["p50_ms"] > found["1 MB", SYNC].medians["p50_ms"]


async def test_another_array_is_no_measurement() -> None:
    class Wrong:
        async def tensor(self, array: Floats) -> Floats:
            return array + 1

    with pytest.raises(RuntimeError, match="another array"):
        await measure(Party("wrong", Wrong(), frozenset()), np.ones(4, np.float32), 0.05)
