"""One forward run of a model: rows in, one answer a row out, in a worker thread."""

from collections.abc import Sequence

from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Compute, Processor, Row, Stop


class Forward:
    """Joins rows, runs the model, checks its answers and takes them apart.

    Args:
        name: The model's name, for errors.
        run: Computes a batch.
        processor: Joins rows and takes batches apart.
    """

    def __init__(self, name: str, run: Compute, processor: Processor) -> None:
        self.name = name
        self.processor = processor
        self._run = run

    def __call__(self, rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        """Return one answer a row.

        Raises:
            ModelUnavailable: The model gave another number of answers than it got rows.
        """
        try:
            return self._answers(rows, stop)
        except BaseException as error:
            # SystemExit is meant for the model, not for the node; no future holds StopIteration.
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise
            kind = type(error).__name__
            raise RuntimeError(f"model {self.name!r} raised {kind}") from error

    def _answers(self, rows: Sequence[Row], stop: Stop) -> Sequence[Row]:
        outputs = self._run(self.processor.collate(rows), stop)
        if any(len(array) != len(rows) for array in outputs.values()):
            counts = ", ".join(f"{len(array)} of {name}" for name, array in outputs.items())
            raise ModelUnavailable(
                f"model {self.name!r} got {len(rows)} rows and answered {counts}", shareable=True
            )
        answers = self.processor.split(outputs, len(rows))
        if len(answers) != len(rows):
            raise ModelUnavailable(
                f"model {self.name!r} got {len(rows)} rows and gave {len(answers)} answers",
                shareable=True,
            )
        return answers
