import pytest

from orchestrator.bench.catalog import SUITES, find_suites
from orchestrator.core.errors import UsageError


def test_suites_are_found_by_name_and_all_are_meant_without_one() -> None:
    assert list(SUITES) == ["overhead", "tensors", "streaming", "batching", "imports"]
    assert find_suites([]) == list(SUITES.values())
    assert [s.name for s in find_suites(["imports", "overhead", "imports"])] == [
        "imports",
        "overhead",
    ]


def test_an_unknown_suite_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no suite 'speed': take from overhead, tensors"):
        find_suites(["speed"])


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_what_a_suite_plots_is_one_of_its_columns(suite) -> None:  # type: ignore[no-untyped-def]
    assert suite.plotted in {column.key for column in suite.columns}
