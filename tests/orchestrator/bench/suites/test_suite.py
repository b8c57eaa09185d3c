from dataclasses import FrozenInstanceError

import pytest

from orchestrator.bench.suites.suite import Column


def test_a_column_says_how_it_is_read() -> None:
    column = Column("p50_us", "p50 us")
    assert (column.digits, column.compared, column.more_is_better) == (0, False, False)
    with pytest.raises(FrozenInstanceError):
        column.digits = 2  # type: ignore[misc]
