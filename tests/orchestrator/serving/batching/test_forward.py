from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Row, Stop
from orchestrator.serving.batching.forward import Forward


class Numbers:
    """Joins rows of one number each; may lose some of the answers."""

    def __init__(self, lost: int = 0) -> None:
        self.lost = lost

    def collate(self, rows: Sequence[Row]) -> Batch:
        return {"x": np.array([row["x"] for row in rows])}

    def split(self, batch: Batch, count: int) -> Sequence[Row]:
        return [{"y": answer} for answer in batch["y"]][: count - self.lost]


def forward(run: Any, lost: int = 0) -> Sequence[Row]:
    processor: Any = Numbers(lost)
    return Forward("m", run, processor)([{"x": np.array(n)} for n in (1, 2, 3)], Stop())


def test_rows_come_back_as_answers_in_their_order() -> None:
    answers = forward(lambda batch, stop: {"y": batch["x"] * 10})
    assert [int(row["y"]) for row in answers] == [10, 20, 30]


@pytest.mark.parametrize("answered", [0, 2, 4])
def test_a_model_that_gives_another_number_of_answers_is_refused(answered: int) -> None:
    with pytest.raises(ModelUnavailable, match=f"got 3 rows and answered {answered} of y"):
        forward(lambda batch, stop: {"y": np.zeros(answered)})


def test_a_processor_that_loses_an_answer_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="got 3 rows and gave 2 answers"):
        forward(lambda batch, stop: {"y": batch["x"]}, lost=1)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_what_is_meant_for_a_process_becomes_an_error_of_the_model(
    kind: type[BaseException],
) -> None:
    def run(batch: Batch, stop: Stop) -> Batch:
        raise kind

    with pytest.raises(RuntimeError, match=f"model 'm' raised {kind.__name__}"):
        forward(run)


@pytest.mark.parametrize("kind", [ValueError, MemoryError])
def test_other_errors_stay_what_they_are(kind: type[Exception]) -> None:
    def run(batch: Batch, stop: Stop) -> Batch:
        raise kind("because")

    with pytest.raises(kind, match="because"):
        forward(run)
