"""The suites by name."""

from orchestrator.bench.suites import batching, imports, overhead, streaming, tensors
from orchestrator.bench.suites.suite import Suite
from orchestrator.core.errors import UsageError

_ROOMS = (overhead, tensors, streaming, batching, imports)

SUITES: dict[str, Suite] = {room.SUITE.name: room.SUITE for room in _ROOMS}


def find_suites(names: list[str]) -> list[Suite]:
    """Return suites by name, all for none.

    Raises:
        UsageError: There is no suite of a name.
    """
    if unknown := [name for name in names if name not in SUITES]:
        raise UsageError(f"there is no suite {unknown[0]!r}: take from {', '.join(SUITES)}")
    return [SUITES[name] for name in dict.fromkeys(names)] or list(SUITES.values())
