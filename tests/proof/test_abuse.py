"""Callers that mean harm, against real nodes; `make proof PART=abuse` gives them more time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proofs.abuse import checks_of, harm_node
from benchmarks.proofs.cases import BY_CALLERS, Case
from benchmarks.proofs.hostile_caller import ATTACKS
from benchmarks.proofs.report import Check

SECONDS = 1.0


def cases(known: str) -> list[Any]:
    """Return the cases; what is known to be missing must fail, so that its mark goes with it."""
    return [
        pytest.param(
            case,
            id=case.name,
            marks=pytest.mark.xfail(strict=True, reason=reason)
            if (reason := getattr(case, known))
            else (),
        )
        for case in BY_CALLERS
    ]


@pytest.fixture(scope="module")
def checks(request: pytest.FixtureRequest, store: Path) -> list[Check]:
    case: Case = request.param
    return checks_of(case, "node", asyncio.run(harm_node(store, case, SECONDS)))


@pytest.mark.parametrize("checks", cases("unbounded"), indirect=True)
def test_no_caller_makes_a_node_grow_beyond_its_limits(checks: list[Check]) -> None:
    assert checks[0].holds, checks[0].seen


@pytest.mark.parametrize("checks", cases("starves"), indirect=True)
def test_others_are_served_whatever_a_caller_does(checks: list[Check]) -> None:
    assert checks[1].holds, checks[1].seen


def test_every_attack_is_a_case() -> None:
    assert [case.name for case in BY_CALLERS] == list(ATTACKS)
