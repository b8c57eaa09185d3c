from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestrator.core.context import calling_through
from orchestrator.core.errors import InvalidInput, ModelUnavailable, ServiceFailed, UsageError
from orchestrator.core.model import Array, TensorSpec
from orchestrator.decorators import edge_service
from orchestrator.models.store import ModelStore
from orchestrator.models.tensor import TensorModel, TensorProcessor, build_module
from orchestrator.serving.local import LocalCaller
from orchestrator.testing import fake_model, running_node

Tensors = dict[str, np.ndarray]
FLOATS = np.zeros((2, 8), np.float32)
SPECS = [
    TensorSpec("x", "float32", ("batch", 8), finite=True),
    TensorSpec("ids", "int64", ("batch", "length")),
]
ANSWERS = [TensorSpec("output", "float32", ("batch", 4))]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> TensorProcessor:
    """Takes x and ids, gives output."""
    store = tmp_path_factory.mktemp("models")
    fake_model(store, "tiny", SPECS, ANSWERS)
    return TensorProcessor(ModelStore(store).open("tiny"))


def inputs(**changes: Any) -> Tensors:
    return {"x": FLOATS, "ids": np.ones((2, 3), np.int64), **changes}


def with_bad(value: float) -> Array:
    array = FLOATS.copy()
    array[1, 3] = value
    return array


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"x": FLOATS.astype(np.float64)}, "x is float64, the model takes float32: use .astype"),
        ({"x": FLOATS.astype(">f4")}, "x is >f4, the model takes float32"),
        ({"x": np.array(["a"] * 16).reshape(2, 8)}, "x is <U1, the model takes float32"),
        ({"x": FLOATS[:, :7]}, "x has shape (2, 7), the model takes (batch, 8): use .reshape"),
        ({"x": FLOATS.reshape(-1)}, "x has shape (16,)"),
        ({"x": FLOATS[None]}, "x has shape (1, 2, 8)"),
        ({"x": np.float32(3)}, "x is a float32: make it a numpy array"),
        ({"x": with_bad(np.nan)}, "x holds NaN or infinity, which the model refuses"),
        ({"x": with_bad(np.inf)}, "x holds NaN or infinity"),
        ({"x": with_bad(-np.inf)}, "x holds NaN or infinity"),
        ({"x": FLOATS[:1]}, "takes arrays of one length: their first axis is the batch"),
        ({"y": FLOATS}, "takes x, ids, not ids, x, y"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_cure(
    processor: TensorProcessor, wrong: Tensors, said: str
) -> None:
    assert len(processor.rows(inputs())) == 2
    with pytest.raises(InvalidInput) as caught:
        processor.rows(inputs(**wrong))
    assert said in str(caught.value)
    assert "model 'tiny'" in str(caught.value)
    assert caught.value.shareable


@pytest.mark.parametrize("given", [{}, {"x": FLOATS}])
def test_missing_arrays_are_named(processor: TensorProcessor, given: Tensors) -> None:
    with pytest.raises(InvalidInput, match="takes x, ids, not"):
        processor.rows(given)


def test_values_stand_in_no_refusal(processor: TensorProcessor) -> None:
    with pytest.raises(InvalidInput) as caught:
        processor.rows(inputs(x=np.full((2, 7), 1234.5, np.float32)))
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("wrong", [[[1.0] * 8], None, "text", 3.5])
def test_a_value_that_is_no_array_is_refused_with_the_cure(
    processor: TensorProcessor, wrong: Any
) -> None:
    with pytest.raises(InvalidInput, match="array"):
        processor.rows(inputs(x=wrong))


def test_nan_is_refused_in_complex_numbers_too() -> None:
    spec = TensorSpec("z", "complex64", ("batch",), finite=True)
    assert spec.problem(np.array([1 + 1j], np.complex64)) is None
    assert spec.problem(np.array([complex(float("nan"), 0)], np.complex64))


def test_without_being_refused_nan_passes(processor: TensorProcessor) -> None:
    spec = TensorSpec("x", "float32", ("batch", 8))
    assert spec.problem(with_bad(np.nan)) is None


def test_no_rows_give_empty_outputs_of_the_right_kind(processor: TensorProcessor) -> None:
    rows = processor.rows(inputs(x=FLOATS[:0], ids=np.zeros((0, 3), np.int64)))
    assert rows == []
    output = processor.result([])["output"]
    assert (output.shape, output.dtype.name) == ((0, 4), "float32")


def test_rows_of_unlike_shape_do_not_share_a_batch(processor: TensorProcessor) -> None:
    short = processor.rows(inputs())
    long = processor.rows(inputs(ids=np.ones((2, 5), np.int64)))
    assert processor.key(short[0]) == processor.key(short[1]) != processor.key(long[0])


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 6), st.just(8)), elements=st.floats(-9, 9, width=32)
    )
)
def test_rows_collated_and_split_come_back_in_order(processor: TensorProcessor, x: Array) -> None:
    ids = np.arange(len(x), dtype=np.int64)[:, None]
    batch = processor.collate(processor.rows({"x": x, "ids": ids}))
    np.testing.assert_array_equal(batch["x"], x)
    back = processor.result(processor.split({"output": batch["x"][:, :4]}, len(x)))
    np.testing.assert_array_equal(back["output"], x[:, :4])


def test_a_batch_is_a_copy_so_that_a_callers_array_may_change(processor: TensorProcessor) -> None:
    mine = FLOATS.copy()
    batch = processor.collate(processor.rows(inputs(x=mine)))
    mine[:] = 7
    assert not batch["x"].any()


def processor_of(tmp_path: Path, *shapes: tuple[int | str, ...]) -> TensorProcessor:
    names = [f"x{number}" for number in range(len(shapes))]
    specs = [TensorSpec(n, "float32", shape) for n, shape in zip(names, shapes, strict=True)]
    fake_model(tmp_path, "made", specs, ANSWERS)
    return TensorProcessor(ModelStore(tmp_path).open("made"))


@pytest.mark.parametrize(
    ("shapes", "lengths", "length"),
    [
        ([("batch", 8)], (1,), 1),
        ([("batch",)], (1,), 1),
        ([("batch", "time", 8)], (8, 32, 128), 5),
        ([("batch", 8), ("batch", 8, "time")], (8, 32, 128), 5),
        ([("batch", "time"), ("batch", "time")], (8, 32, 128), 5),
        ([("batch", "height", "width")], (1,), 1),
    ],
)
def test_the_length_is_the_size_of_the_only_free_axis(
    tmp_path: Path, shapes: Any, lengths: Any, length: int
) -> None:
    processor = processor_of(tmp_path, *shapes)
    arrays = {
        f"x{number}": np.zeros([5 if isinstance(axis, str) else axis for axis in shape], np.float32)
        for number, shape in enumerate(shapes)
    }
    assert processor.lengths() == lengths
    assert [processor.length(row) for row in processor.rows(arrays)] == [length] * 5


def test_an_empty_row_has_a_length_too(processor: TensorProcessor) -> None:
    (row,) = processor.rows({"x": FLOATS[:1], "ids": np.zeros((1, 0), np.int64)})
    assert processor.length(row) == 1


def test_made_up_rows_fit_and_differ_and_are_the_same_for_every_count(
    processor: TensorProcessor,
) -> None:
    few, many = processor.probe(2, 7), processor.probe(5, 7)
    batch = processor.collate(many)
    assert all(spec.problem(batch[spec.name]) is None for spec in SPECS)
    assert {processor.length(row) for row in many} == {7}
    assert set(np.unique(batch["ids"])) == {0, 1}  # they may be indices
    assert len({row["x"].tobytes() for row in many}) == 5
    for name in ("x", "ids"):
        np.testing.assert_array_equal(few[1][name], many[1][name])


def test_the_example_is_one_row_that_fits(processor: TensorProcessor) -> None:
    assert len(processor.rows(processor.example())) == 1


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (
            "",
            "needs a factory for its torch form: TensorModel('tiny', factory=\"module:function\")",
        ),
        ("module_alone", "needs a factory"),
        ("no_such_module_of_mine:make", "No module named 'no_such_module_of_mine'"),
        ("math:no_such_function", "has no attribute 'no_such_function'"),
    ],
)
def test_a_factory_that_cannot_be_found_is_named(factory: str, said: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        build_module(factory, "tiny")
    assert said in str(caught.value)


def failing_factory() -> None:
    raise ValueError("the user's own code fails")


@pytest.mark.parametrize("factory", [f"{__name__}:failing_factory", "math:pi"])
def test_a_factory_that_fails_is_model_unavailable(factory: str) -> None:
    with pytest.raises(ModelUnavailable, match="factory"):
        build_module(factory, "tiny")


def test_a_model_outside_of_a_body_names_the_way_to_call_it() -> None:
    with pytest.raises(UsageError, match=r"cloud_service\(model\)"):
        TensorModel("tiny")({"x": FLOATS})


def double(batch: Mapping[str, Array], stop: object) -> Mapping[str, Array]:
    return {"output": batch["x"][:, :4] * 2}


async def test_bodies_of_both_kinds_call_it_by_name(tmp_path: Path) -> None:
    fake_model(tmp_path, "tiny", SPECS, ANSWERS)
    tiny = TensorModel("tiny")

    @edge_service(models=[tiny])
    def blocking(x: np.ndarray) -> np.ndarray:
        return tiny({"x": x, "ids": np.ones((len(x), 1), np.int64)})["output"]

    @edge_service(models=[tiny])
    async def awaited(x: np.ndarray) -> np.ndarray:
        return (await tiny.aio({"x": x, "ids": np.ones((len(x), 1), np.int64)}))["output"]

    x = np.arange(24, dtype=np.float32).reshape(3, 8)
    node = running_node("edge", blocking, awaited, store=tmp_path, models={"tiny": double})
    async with node as running:
        with calling_through(LocalCaller(running)):
            for call in (blocking.aio, awaited):
                np.testing.assert_array_equal(await call(x), x[:, :4] * 2)
            with pytest.raises(ServiceFailed, match=r"InvalidInput in .*x has shape"):
                await awaited(x[:, :7])
