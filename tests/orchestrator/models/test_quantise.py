import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_node.runtime import OnnxRuntime
from orchestrator.core.errors import ModelUnavailable, UsageError
from orchestrator.core.running import Meter
from orchestrator.models.manifest import INT8, ONNX, TensorEntry
from orchestrator.models.quantise import quantise
from orchestrator.models.store import LEARNED, ModelStore, write_manifest
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.pool import ModelPool

WIDE = TensorModel("wide")
SIZE = 512


def add_wide(store: ModelStore, outlier: float = 1.0) -> None:
    """Add a model of three large matrices; an outlier in the weights spoils their INT8 form."""
    dice = np.random.default_rng(3)
    nodes, weights, last = [], [], "x"
    for n in range(3):
        matrix = dice.standard_normal((SIZE, SIZE)).astype(np.float32) / np.float32(SIZE**0.5)
        matrix[0] *= outlier
        weights.append(onnx.numpy_helper.from_array(matrix, f"w{n}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{n}"], [f"h{n}"]))
        last = f"h{n}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIZE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", SIZE])
    graph = helper.make_graph(nodes, "wide", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with store.adding("wide") as folder:
        (folder / ONNX).parent.mkdir()
        onnx.save(model, folder / ONNX)
        given = TensorEntry(name="x", dtype="float32", shape=("batch", SIZE))
        answered = TensorEntry(name="y", dtype="float32", shape=("batch", SIZE))
        write_manifest(folder, "tensor", [given], [answered], {})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    add_wide(store)
    return store


def make(store: ModelStore, **options: Any) -> list[str]:
    steps: list[str] = []
    quantise(store, "wide", progress=steps.append, **options)
    return steps


def test_the_int8_graph_lies_beside_the_exported_one_with_what_it_costs_in_precision(
    store: ModelStore,
) -> None:
    before = store.open("wide").manifest
    steps = make(store, tolerance=0.1)
    assert steps == ["copying files", "quantising the weights", "comparing both graphs"]
    after = store.open("wide")
    after.verify("edge")
    (made,) = after.manifest.graphs
    assert (made.path, made.precision, made.tolerance) == (INT8, "int8", 0.1)
    assert 0 < made.error <= 0.1
    assert after.file(INT8).stat().st_size < after.file(ONNX).stat().st_size / 3
    assert [graph.precision for graph in after.graphs] == ["full", "int8"]
    assert after.version != before.version
    assert after.inputs == store.open("wide").inputs


def test_what_differs_by_more_is_refused_and_the_model_stays_as_it_was(store: ModelStore) -> None:
    before = store.open("wide").manifest
    with pytest.raises(ModelUnavailable, match=r"differs by 0\.\d+ of its norm, more than 0\.0001"):
        make(store, tolerance=1e-4)
    assert store.open("wide").manifest == before


def test_it_can_be_made_again_and_what_was_learned_is_forgotten(store: ModelStore) -> None:
    make(store)
    (store.path / "wide" / LEARNED).mkdir()
    make(store, tolerance=0.2)
    (made,) = store.open("wide").manifest.graphs
    assert made.tolerance == 0.2
    assert not (store.path / "wide" / LEARNED).exists()


def test_a_damaged_file_gets_no_new_entry(store: ModelStore) -> None:
    path = store.path / "wide" / ONNX
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelUnavailable, match="differs from the manifest"):
        make(store)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1.0, float("nan")])
def test_a_tolerance_that_makes_no_sense_is_wrong_usage(
    store: ModelStore, tolerance: float
) -> None:
    with pytest.raises(UsageError, match="give a part of 1"):
        make(store, tolerance=tolerance)


def test_a_model_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="isthmus models add"):
        make(ModelStore(tmp_path))


async def served(store: ModelStore, graph: str = "") -> tuple[str, np.ndarray]:
    """Return what serves the model, and its answer to one row."""
    shutil.rmtree(store.path / "wide" / LEARNED, ignore_errors=True)
    pool = ModelPool(store, OnnxRuntime(graph=graph, cores=1))
    await pool.load(WIDE)
    x = np.random.default_rng(4).standard_normal((1, SIZE)).astype(np.float32)
    answer = await pool.run(WIDE, {"x": x}, Meter())
    (report,) = pool.reports
    await pool.aclose()
    return report.graph, answer["y"]


async def test_the_settings_choose_the_precision(store: ModelStore) -> None:
    make(store)
    full = await served(store, "full")
    int8 = await served(store, "int8-unfused")
    assert full[0].startswith("full-")
    assert int8[0] == "int8-unfused, 1 run x 1 thread"
    apart = np.linalg.norm(full[1] - int8[1]) / np.linalg.norm(full[1])
    assert 1e-4 < apart < 0.25


async def test_a_graph_that_does_not_keep_its_promise_here_is_not_taken(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    make(store)
    folder = store.open("wide")
    (made,) = folder.manifest.graphs
    stricter = made.model_copy(update={"tolerance": made.error / 10})
    for graphs, taken in ((folder.manifest.graphs, True), ((stricter,), False)):
        manifest = folder.manifest.model_copy(update={"graphs": graphs})
        (folder.path / "manifest.json").write_text(manifest.model_dump_json())
        caplog.clear()
        graph, _ = await served(store)
        assert ("not taken" not in caplog.text) is taken
        assert taken or graph.startswith("full-")
