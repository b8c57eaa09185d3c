"""Where the simulation's tests are, and that the full form counts those that pass."""

from benchmarks.proofs.simulation import TESTS, passed


def test_the_full_form_finds_the_tests_and_counts_them() -> None:
    text = TESTS.read_text()
    assert "ISTHMUS_SIMULATION_SEEDS" in text
    name = "test_whatever_is_lost_the_ledger_is_right"
    assert f"def {name}" in text
    said = f"x.py::{name}[small-0] PASSED\nx.py::{name}[small-1] FAILED\nx.py::test_other PASSED\n"
    assert passed(said) == 1
