"""The outcome of one suite: samples, what was absent, and what it all was measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.bench.machine import Machine
from orchestrator.bench.suites.suite import Suite
from orchestrator.bench.summary import Row, quiet_share, summarise
from orchestrator.bench.turns import Sample


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one suite.

    Attributes:
        suite: The suite.
        samples: What was measured.
        absent: What was not, and why.
        machine: What it was measured on.
        rounds: How many rounds were asked for.
        seconds: How long a turn was.
    """

    suite: Suite
    samples: Sequence[Sample]
    absent: Mapping[str, str]
    machine: Machine
    rounds: int
    seconds: float

    @property
    def rows(self) -> list[Row]:
        """Medians and ratios."""
        return summarise(self.suite, self.samples)

    @property
    def foreign(self) -> dict[int, float]:
        """The part of the machine that others used, by round."""
        return quiet_share(self.samples)

    def as_data(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "suite": self.suite.name,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "machine": asdict(self.machine),
            "foreign": self.foreign,
            "absent": dict(self.absent),
            "rows": [asdict(row) for row in self.rows],
            "samples": [asdict(sample) for sample in self.samples],
        }
