"""The suites by name."""

from orchestrator.bench.suites import overhead
from orchestrator.bench.suites.suite import Suite
from orchestrator.core.errors import UsageError

SUITES: dict[str, Suite] = {suite.name: suite for suite in (overhead.SUITE,)}


def find_suites(names: list[str]) -> list[Suite]:
    """Return suites by name, all for none.

    Raises:
        UsageError: There is no suite of a name.
    """
    if unknown := [name for name in names if name not in SUITES]:
        raise UsageError(f"there is no suite {unknown[0]!r}: take from {', '.join(SUITES)}")
    return [SUITES[name] for name in dict.fromkeys(names)] or list(SUITES.values())
