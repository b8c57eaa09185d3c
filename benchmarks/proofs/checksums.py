"""A model whose answer tells whose row it is: a rolling hash of each row, by ONNX."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from orchestrator.models.manifest import ONNX, TensorEntry
from orchestrator.models.store import ModelStore, write_manifest

_BASE, _MODULUS = 31, 2**31 - 1
_LENGTHS = (4, 12, 40)

Rows = np.ndarray


def expected(rows: Rows) -> list[int]:
    """Return the rolling hash of each row (Karp and Rabin, 1987).

    Args:
        rows: Whole numbers of shape (rows, length).
    """
    sums = []
    for row in rows.tolist():
        value = 0
        for number in row:
            value = (value * _BASE + number) % _MODULUS
        sums.append(value)
    return sums


def random_rows(source: random.Random) -> Rows:
    """Return one to three rows of one of a few lengths; no two calls have equal ones."""
    shape = (source.choice([1, 1, 2, 3]), source.choice(_LENGTHS))
    numbers = [source.randrange(_MODULUS) for _ in range(shape[0] * shape[1])]
    return np.array(numbers, np.int64).reshape(shape)


def add_checksum_model(store: Path) -> None:
    """Put the model `checksum` into a store, in its ONNX form alone.

    It takes `rows`, int64[batch, length], and gives `sums`, int64[batch].
    """
    with ModelStore(store).adding("checksum", replace=True) as folder:
        path = folder / ONNX
        path.parent.mkdir()
        onnx.save(_model(), path)
        rows = TensorEntry(name="rows", dtype="int64", shape=("batch", "length"))
        sums = TensorEntry(name="sums", dtype="int64", shape=("batch",))
        write_manifest(folder, "tensor", [rows], [sums], {})


def _model() -> Any:
    """Return a scan along the second axis, so that long rows take long and order counts."""
    step = helper.make_graph(
        [
            helper.make_node("Mul", ["before", "base"], ["scaled"]),
            helper.make_node("Add", ["scaled", "number"], ["raw"]),
            helper.make_node("Mod", ["raw", "modulus"], ["after"]),
        ],
        "step",
        [_int64("before", ["batch"]), _int64("number", ["batch"])],
        [_int64("after", ["batch"])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["rows", "second_axis"], ["total"], keepdims=0),
            helper.make_node("Sub", ["total", "total"], ["zeros"]),
            helper.make_node(
                "Scan", ["zeros", "rows"], ["sums"], body=step, num_scan_inputs=1,
                scan_input_axes=[1],
            ),
        ],
        "checksum",
        [_int64("rows", ["batch", "length"])],
        [_int64("sums", ["batch"])],
        [_constant("second_axis", [1]), _constant("base", _BASE), _constant("modulus", _MODULUS)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _int64(name: str, shape: list[str]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def _constant(name: str, value: int | list[int]) -> Any:
    return onnx.numpy_helper.from_array(np.array(value, np.int64), name)
