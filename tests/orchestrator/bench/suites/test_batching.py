import numpy as np
import pytest

from orchestrator.bench.library import SESSION
from orchestrator.bench.parties import Floats, Party
from orchestrator.bench.run import run_suite
from orchestrator.bench.suites import batching
from orchestrator.bench.suites.batching import LIMIT, SUITE, Mix, measure
from orchestrator.bench.suites.suite import Options


@pytest.mark.timeout(300)  # some hundred runs of the real model, however busy the machine is
async def test_one_short_round_compares_a_node_with_the_limit(
    tiny: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "IN_FLIGHT", (8,))
    outcome = await run_suite(SUITE, tiny)
    cases = [f"{mix}, 8 in flight" for mix in ("mixed lengths", "all 128 tokens")]
    found = {(row.case, row.way): row for row in outcome.rows}
    assert found.keys() == {(c, w) for c in cases for w in (LIMIT, SESSION)}, outcome.absent
    for case in cases:
        assert found[case, LIMIT].ratios["texts_per_second"][0].median == 1
        node = found[case, SESSION].medians
        assert node["texts_per_second"] > 0
        assert 0 < node["p50_ms"] <= node["p99_ms"]


async def test_a_vector_that_is_not_the_model_s_is_no_measurement() -> None:
    expected = np.array([1, 0], np.float32)

    class Wrong:
        async def embed(self, text: str) -> Floats:
            return np.array([0, 1], np.float32)

    mix = Mix("a mix", 64, ["one text"])
    with pytest.raises(RuntimeError, match="not that of the model"):
        await measure(Party("wrong", Wrong(), frozenset()), mix, expected, 1, 0.05)


def test_a_mix_gives_each_text_equally_often() -> None:
    texts = Mix("a mix", 64, ["a", "b", "c"]).endless()
    drawn = [next(texts) for _ in range(6)]
    assert sorted(drawn) == ["a", "a", "b", "b", "c", "c"]
