import pytest

from orchestrator.bench.suites.suite import Suite
from orchestrator.bench.summary import quiet_share, summarise
from orchestrator.bench.turns import Sample


def test_medians_are_over_rounds_and_ratios_inside_them(
    suite: Suite, samples: list[Sample]
) -> None:
    base, ours = summarise(suite, samples)
    assert (base.way, ours.way, ours.rounds) == ("base", "isthmus", 3)
    assert ours.medians == {"rate": 200, "ms": 20}
    (rate,), (ms,) = ours.ratios["rate"], ours.ratios["ms"]
    # Of the medians it would be 2: the slow round, slow for both, is no worse than the others.
    assert (rate.base, rate.median, rate.worst) == ("b", 3.0, 2.0)
    assert (ms.median, ms.worst) == (0.5, 2.0)


def test_a_base_stands_first_and_is_one_to_itself(suite: Suite, samples: list[Sample]) -> None:
    rows = summarise(suite, samples[::-1])
    assert [row.way for row in rows] == ["base", "isthmus"]
    assert {ratio.median for found in rows[0].ratios.values() for ratio in found} == {1.0}


def test_a_round_that_the_base_has_missed_gives_no_ratio(
    suite: Suite, samples: list[Sample]
) -> None:
    left = [s for s in samples if (s.round, s.way) != (1, "base")]
    _, ours = summarise(suite, left)
    assert ours.rounds == 3
    assert [ratio.median for ratio in ours.ratios["rate"]] == [2.5]


def test_without_its_base_a_case_has_figures_and_no_ratios(
    suite: Suite, samples: list[Sample]
) -> None:
    (ours,) = summarise(suite, [s for s in samples if s.way == "isthmus"])
    assert ours.medians["rate"] == 200
    assert ours.ratios == {"rate": [], "ms": []}


def test_the_best_of_several_is_that_of_the_round(suite: Suite, samples: list[Sample]) -> None:
    others = {1: (30.0, 300.0), 2: (10.0, 5.0), 3: (100.0, 50.0)}
    for number, rates in others.items():
        for way, rate in zip(("one", "other"), rates, strict=True):
            samples.append(Sample(number, "64 in flight", way, {"rate": rate, "ms": 1 / rate}, 0))
    ours = next(row for row in summarise(suite, samples) if row.way == "isthmus")
    best = ours.ratios["rate"][1]
    assert (best.base, best.median, best.worst) == ("best", 2.0, 1.0)  # of 1, 3 and 2
    assert ours.ratios["ms"][1].median == pytest.approx(1500)  # 5 of 1/300: less is better


def test_the_load_of_a_round_is_the_mean_of_its_turns(samples: list[Sample]) -> None:
    assert quiet_share(samples) == {n: pytest.approx(0.1 * n) for n in (1, 2, 3)}
    assert quiet_share([]) == {}
