"""Nodes that mean harm, against a caller in this process."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.proofs.abuse import checks_of, control, harm_caller
from benchmarks.proofs.cases import BY_NODES, Case
from benchmarks.proofs.daemon import edge_node
from benchmarks.proofs.hostile_node import SCRIPTS
from benchmarks.proofs.report import Check

SECONDS = 2.0


@pytest.fixture(scope="module")
def found(store: Path) -> dict[str, list[Check]]:
    """Every case against one honest node, for it is this process that suffers."""

    async def suffer() -> dict[str, list[Check]]:
        async with edge_node(store) as node:
            harmed = [(case, await harm_caller(node, case, SECONDS)) for case in BY_NODES]
        return {case.name: checks_of(case, "caller", what) for case, what in harmed}

    return asyncio.run(suffer())


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case.name,
            marks=[pytest.mark.xfail(strict=True, reason=case.unbounded)] if case.unbounded else [],
        )
        for case in BY_NODES
    ],
)
def test_no_node_makes_a_caller_grow_beyond_its_limits(
    case: Case, found: dict[str, list[Check]]
) -> None:
    grown, _ = found[case.name]
    assert grown.holds, grown.seen


@pytest.mark.parametrize("case", BY_NODES, ids=lambda case: case.name)
def test_others_are_served_whatever_a_node_does(case: Case, found: dict[str, list[Check]]) -> None:
    _, served = found[case.name]
    assert served.holds, served.seen


def test_every_script_is_a_case() -> None:
    assert {case.name for case in BY_NODES} == set(SCRIPTS)


async def test_without_limits_growth_and_hunger_are_seen(store: Path) -> None:
    check = await control(store)
    assert check.holds, check.seen
