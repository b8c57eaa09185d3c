import pytest

from edge_node.graphs import CHOICES, check_choice, layouts, ways_of
from orchestrator.core.errors import ModelUnavailable, SettingsError
from orchestrator.core.model import Graph, Way

FULL = Graph("onnx/model.onnx", "full", 1e-4)
INT8 = Graph("onnx/model.int8.onnx", "int8", 0.25)


def names(wanted: str = "", *graphs: Graph) -> list[str]:
    ways = ways_of("m", graphs or (FULL, INT8), [(1, 2)], wanted)
    return [way.graph for way in ways]


@pytest.mark.parametrize(
    ("threads", "cores", "expected"),
    [
        (0, 1, [(1, 1)]),
        (0, 4, [(4, 1), (1, 4)]),
        (1, 4, [(4, 1)]),
        (2, 4, [(2, 2)]),
        (4, 4, [(1, 4)]),
        (8, 4, [(1, 8)]),
    ],
)
def test_runs_side_by_side_find_a_core_for_each_thread(
    threads: int, cores: int, expected: list[tuple[int, int]]
) -> None:
    assert layouts(threads, cores) == expected


def test_every_graph_is_offered_fused_and_not_the_exported_one_first() -> None:
    assert names() == ["full-fused", "full-unfused", "int8-fused", "int8-unfused"]
    assert names("", FULL) == ["full-fused", "full-unfused"]


def test_every_graph_is_offered_in_every_layout_with_its_own_tolerance_and_file() -> None:
    ways = ways_of("m", [FULL, INT8], [(2, 1), (1, 2)], "int8-fused")
    assert ways == [
        Way("int8-fused", 2, 1, 0.25, INT8.path),
        Way("int8-fused", 1, 2, 0.25, INT8.path),
    ]


@pytest.mark.parametrize("wanted", CHOICES)
def test_the_settings_may_name_a_precision_or_one_graph_of_it(wanted: str) -> None:
    check_choice(wanted)
    assert all(name.startswith(wanted) for name in names(wanted))
    assert len(names(wanted)) == (1 if "-" in wanted else 2)


def test_a_graph_that_a_model_does_not_have_is_never_replaced_by_another() -> None:
    with pytest.raises(ModelUnavailable, match="isthmus models quantise m"):
        names("int8", FULL)


def test_an_unknown_graph_is_an_error_that_lists_them_all() -> None:
    with pytest.raises(SettingsError, match="choose from full, full-fused, .*int8-unfused"):
        check_choice("fp16")


def test_a_way_says_in_words_what_runs() -> None:
    assert str(Way("int8-unfused", 2, 1)) == "int8-unfused, 2 runs x 1 thread"
    assert str(Way("full-fused", 1, 4)) == "full-fused, 1 run x 4 threads"
    assert str(Way()) == "1 run"
