"""The small form; `make proof PART=cancellation` is the full one."""

from pathlib import Path

from benchmarks.proofs.cancellation import plans, prove
from benchmarks.proofs.checksums import expected


async def test_nobody_gets_the_answer_of_another_whoever_is_cancelled(store: Path) -> None:
    outcome = await prove(store, calls=500)
    assert [check for check in outcome.checks if not check.holds] == []
    assert outcome.check("the positive control").holds
    assert outcome.check("one of three batch mates").holds


def test_no_two_calls_have_equal_answers() -> None:
    sums = [total for plan in plans(2000, seed=1) for total in expected(plan.rows)]
    assert len(set(sums)) == len(sums)


def test_the_same_seed_makes_the_same_calls() -> None:
    first, second = (
        [(plan.fate, plan.after, plan.rows.tolist()) for plan in plans(50, seed=7)]
        for _ in range(2)
    )
    assert first == second
