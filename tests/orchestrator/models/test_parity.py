import numpy as np
import pytest

from orchestrator.core.model import Array, Row
from orchestrator.models.parity import relative_error


def rows(*arrays: object) -> list[Row]:
    return [{"y": np.asarray(array, np.float32)} for array in arrays]


def test_the_worst_row_counts_as_a_part_of_its_own_norm() -> None:
    given, expected = rows([3, 4], [30, 41]), rows([3, 4], [30, 40])
    assert relative_error(given, expected) == pytest.approx(1 / 50)


def test_the_worst_output_of_a_row_counts() -> None:
    given: list[Row] = [{"y": np.ones(4), "z": np.array(2.0)}]
    expected: list[Row] = [{"y": np.ones(4), "z": np.array(1.0)}]
    assert relative_error(given, expected) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "given",
    [
        np.array([1.0, 2.0, 3.0]),
        np.array([np.nan, 2.0]),
        np.array([1.0, np.inf]),
    ],
    ids=["shape", "nan", "infinity"],
)
def test_another_shape_and_what_is_no_number_differ_without_end(given: Array) -> None:
    assert not relative_error(rows(given), rows([1.0, 2.0])) < 1


@pytest.mark.parametrize("same", [[np.nan, 1.0], [np.inf, -np.inf], [0.0, 0.0], []])
def test_the_same_does_not_differ(same: list[float]) -> None:
    assert relative_error(rows(same), rows(same)) == 0


def test_anything_differs_from_nothing() -> None:
    assert relative_error(rows([0.0, 1e-9]), rows([0.0, 0.0])) == float("inf")
