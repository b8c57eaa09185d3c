import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from orchestrator.core.errors import InvalidInput, WireError
from orchestrator.core.model import Array
from orchestrator.wire.tensors import DTYPES, check_array, decode_tensor, encode_tensor
from protos.isthmus.v1 import node_pb2 as pb

arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: arrays_of.arrays(
        np.dtype(name), arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)


def over_the_wire(array: Array) -> Array:
    return decode_tensor(pb.Tensor.FromString(encode_tensor(array).SerializeToString()))


def assert_same(got: Array, wanted: Array) -> None:
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype.newbyteorder("<"))
    little = wanted.astype(wanted.dtype.newbyteorder("<"))
    assert got.tobytes() == little.tobytes()  # bits, so that NaN equals itself


@given(arrays)
def test_every_array_comes_back_bit_for_bit(array: Array) -> None:
    assert_same(over_the_wire(array), array)


@given(arrays)
def test_big_endian_arrays_keep_their_values(array: Array) -> None:
    assert_same(over_the_wire(array.astype(array.dtype.newbyteorder(">"))), array)


@given(arrays)
def test_the_order_in_memory_does_not_matter(array: Array) -> None:
    for other in (np.asfortranarray(array), array.T, array[::-1] if array.ndim else array):
        assert_same(over_the_wire(other), np.ascontiguousarray(other).reshape(other.shape))


def test_a_received_array_is_read_only() -> None:
    array = over_the_wire(np.zeros(3))
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


# No zero: without it no overflow may make a small size of a large shape.
shapes = st.lists(st.sampled_from([-1, 1, 2, 3, 2**31, 2**32, 2**62, 2**63 - 1]), max_size=5)


@given(st.sampled_from(sorted(DTYPES)), shapes, st.binary(max_size=64))
def test_bytes_that_do_not_fit_the_shape_are_refused(
    dtype: str, shape: list[int], data: bytes
) -> None:
    try:
        array = decode_tensor(pb.Tensor(dtype=dtype, shape=shape, data=data))
    except WireError:
        return
    assert array.tobytes() == data
    assert list(array.shape) == shape


@pytest.mark.parametrize(
    "shape", [[2**40], [2**20, 2**20], [2**32, 2**32], [2**63 - 1], [-4], [-1, -1], [1] * 33]
)
def test_an_impossible_shape_is_refused_before_anything_is_allocated(shape: list[int]) -> None:
    message = pb.Tensor(dtype="float64", shape=shape, data=b"12345678")
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode_tensor(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("shape", [[0, 2**62], [2**63 - 1, 0], [0, 2**63 - 1, 2**63 - 1]])
def test_an_empty_tensor_of_a_huge_shape_is_a_wire_error(shape: list[int]) -> None:
    with pytest.raises(WireError):
        decode_tensor(pb.Tensor(dtype="float32", shape=shape))


@pytest.mark.parametrize("dtype", ["", "object", "float128", "str", "<f4", "V8", "datetime64[ns]"])
def test_an_unknown_element_type_is_refused(dtype: str) -> None:
    with pytest.raises(WireError, match="element type"):
        decode_tensor(pb.Tensor(dtype=dtype, shape=[1], data=b"12345678"))


def test_a_bool_tensor_of_other_bytes_than_0_and_1_still_counts_like_bools() -> None:
    try:
        array = decode_tensor(pb.Tensor(dtype="bool", shape=[2], data=b"\x07\x01"))
    except WireError:
        return
    assert array.view(np.uint8).tolist() == [1, 1]


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array(["2026-01-01"], "datetime64[D]"),
        np.zeros(1, [("a", "f4")]),
        np.zeros(1, np.longdouble),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_of_other_types_are_refused_with_the_cure(array: Array) -> None:
    with pytest.raises(InvalidInput, match=r"\.astype"):
        check_array(array)
