"""What the tests of the audit log share: a log on disk, and ways to spoil it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.audit import Refused
from orchestrator.telemetry.audit.log import AuditPlace, open_audit


@pytest.fixture
def place(tmp_path: Path) -> AuditPlace:
    (tmp_path / "elsewhere").mkdir()
    return AuditPlace(tmp_path / "audit.log", anchor=tmp_path / "elsewhere" / "anchor.json")


@pytest.fixture
def write(place: AuditPlace) -> Callable[[int], list[bytes]]:
    """Adds entries to the log, and returns all of its lines."""

    def write(count: int) -> list[bytes]:
        with open_audit(place) as log:
            futures = [log.record(Refused(service=f"s{n}", rule="privacy")) for n in range(count)]
            for future in futures:
                future.result(10)
        return place.path.read_bytes().splitlines(keepends=True)

    return write
