"""Arrays on the wire: raw little-endian bytes with element type and shape."""

import math

import numpy as np

from orchestrator.core.errors import InvalidInput, WireError
from orchestrator.core.model import Array
from protos.isthmus.v1 import node_pb2 as pb

_NAMES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
    "complex64 complex128"
)
DTYPES = frozenset(_NAMES.split())
"""numpy's names of the element types that travel."""

_MAX_AXES = 32


def check_array(array: Array) -> None:
    """Raise InvalidInput if arrays of this kind cannot travel."""
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidInput(
            "a masked array cannot travel: send .filled(), or values and mask", shareable=True
        )
    if array.dtype.name not in DTYPES:
        raise InvalidInput(
            f"an array of {array.dtype} cannot travel: convert it with .astype", shareable=True
        )


def encode_tensor(array: Array, into: pb.Tensor | None = None) -> pb.Tensor:
    """Return an array as a message, or write it into one: a message put into another is copied."""
    message = pb.Tensor() if into is None else into
    message.dtype = array.dtype.name
    message.shape.extend(array.shape)
    message.data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return message


def decode_tensor(message: pb.Tensor) -> Array:
    """Return a message as a read-only array over the message's own bytes.

    Raises:
        WireError: Element type, shape and bytes do not fit together.
    """
    shape = tuple(message.shape)
    data = message.data  # once: each access copies
    if check_shape(message.dtype, shape) != len(data):
        raise WireError("a tensor's bytes do not fit its shape")
    return array_over(data, 0, message.dtype, shape)


def check_shape(name: str, shape: tuple[int, ...]) -> int:
    """Return how many bytes an array takes; raise WireError if there can be no such array."""
    if name not in DTYPES:
        raise WireError("a tensor has an unknown element type")
    # Whole numbers of any size, so that no shape can overflow into a small one.
    if len(shape) > _MAX_AXES or any(axis < 0 for axis in shape):
        raise WireError("a tensor has an impossible shape")
    return math.prod(shape) * np.dtype(name).itemsize


def array_over(
    data: bytes | memoryview | Array, place: int, name: str, shape: tuple[int, ...]
) -> Array:
    """Return a read-only array over bytes that were found to fit its shape.

    Args:
        data: The bytes.
        place: Where the array begins in them.
        name: Its element type.
        shape: Its shape.

    Raises:
        WireError: The bytes are none of that element type.
    """
    dtype = np.dtype(name).newbyteorder("<")
    array = np.frombuffer(data, dtype, math.prod(shape), place)
    if not array.flags.aligned:  # a small one in the midst of a message
        array = array.copy()
        array.flags.writeable = False
    if dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
        raise WireError("a tensor of bool has other bytes than 0 and 1")
    try:
        return array.reshape(shape)
    except ValueError:  # empty, of a shape that numpy cannot count
        raise WireError("a tensor has an impossible shape") from None
