"""Where the tests are that prove more in their full form, and that what passes is counted."""

from pathlib import Path

import pytest

from benchmarks.proofs import labels, memory, simulation
from benchmarks.proofs.suites import passed, run_tests


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        (simulation.TESTS, "ISTHMUS_SIMULATION_SEEDS"),
        (labels.TESTS, "ISTHMUS_LABEL_STEPS"),
        (memory.TESTS, "ISTHMUS_SHARED_MEMORY_KILLS"),
    ],
)
def test_the_full_form_finds_the_tests_and_makes_them_large(path: Path, variable: str) -> None:
    assert f'os.environ.get("{variable}"' in path.read_text()


def test_only_what_passed_is_counted() -> None:
    said = (
        "a.py::test_a[small-0] PASSED\na.py::test_a[of any size-1] PASSED [ 3%]\na.py::b FAILED\n"
    )
    assert passed(said) == 2


async def test_a_failed_test_is_no_proof(tmp_path: Path) -> None:
    file = tmp_path / "test_both.py"
    file.write_text("def test_well() -> None: ...\n\ndef test_ill() -> None:\n    assert False\n")
    well, count, said = await run_tests(file)
    assert (well, count) == (False, 1)
    assert "test_ill" in said
