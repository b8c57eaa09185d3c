import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import quantize_dynamic

from edge_node.providers import CPU
from edge_node.runtime import OnnxRuntime
from orchestrator.core.context import calling_through
from orchestrator.core.errors import ModelUnavailable
from orchestrator.core.model import Batch, Stop, Stopped
from orchestrator.core.running import Meter
from orchestrator.decorators import edge_service
from orchestrator.models.manifest import ONNX, TensorEntry
from orchestrator.models.store import ModelStore, StoredModel, write_manifest
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.embedded import CLEARANCES
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.serving.pool import ModelPool
from orchestrator.testing import fake_model

ENDLESS = 10**12
SOON = 20.0  # seconds; an endless run takes days

Tensors = dict[str, np.ndarray]


def loop_graph() -> onnx.ModelProto:
    """A graph that adds one to x as often as the first element of `trips` says."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])
    trips = helper.make_tensor_value_info("trips", TensorProto.INT64, ["batch"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
            helper.make_node("Constant", [], ["one"], value_float=1.0),
            helper.make_node("Add", ["state", "one"], ["state_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, ["batch"]),
        ],
    )
    nodes = [
        helper.make_node("Constant", [], ["first"], value_int=0),
        helper.make_node("Gather", ["trips", "first"], ["count"]),
        helper.make_node("Loop", ["count", "", "x"], ["y"], body=body),
    ]
    graph = helper.make_graph(nodes, "loop", [x, trips], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with the model "loop", for the edge alone."""
    made = ModelStore(tmp_path / "models")
    with made.adding("loop") as folder:
        (folder / ONNX).parent.mkdir()
        onnx.save(loop_graph(), folder / ONNX)
        inputs = [
            TensorEntry(name="x", dtype="float32", shape=("batch",)),
            TensorEntry(name="trips", dtype="int64", shape=("batch",)),
        ]
        outputs = [TensorEntry(name="y", dtype="float32", shape=("batch",))]
        write_manifest(folder, "tensor", inputs, outputs, {})
    return made


@pytest.fixture
def runtime(store: ModelStore) -> OnnxRuntime:
    made = OnnxRuntime()
    made.load(TensorModel("loop"), store.open("loop"))
    return made


def batch(trips: int, rows: int = 2) -> Batch:
    return {"x": np.zeros(rows, np.float32), "trips": np.full(rows, trips, np.int64)}


def test_a_stop_ends_a_run_inside_of_the_graph_and_the_next_run_is_well(
    runtime: OnnxRuntime,
) -> None:
    stop = Stop()
    timer = threading.Timer(0.2, stop.request)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        runtime.run("loop", batch(ENDLESS), stop)
    assert 0.1 < time.monotonic() - started < SOON
    assert runtime.run("loop", batch(1000), Stop())["y"].tolist() == [1000.0, 1000.0]


def test_a_stop_before_the_run_ends_it_at_once(runtime: OnnxRuntime) -> None:
    stop = Stop()
    stop.request()
    with pytest.raises(Stopped):
        runtime.run("loop", batch(ENDLESS), stop)


def test_a_stop_ends_its_own_run_alone(runtime: OnnxRuntime) -> None:
    mine, ended = Stop(), threading.Event()

    def run() -> None:
        with pytest.raises(Stopped):
            runtime.run("loop", batch(ENDLESS), mine)
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert runtime.run("loop", batch(1000), Stop())["y"].tolist() == [1000.0, 1000.0]
    assert not ended.is_set()
    mine.request()
    thread.join(SOON)
    assert ended.is_set()


async def test_the_last_caller_who_leaves_stops_the_run_and_frees_the_model(
    store: ModelStore,
) -> None:
    loop = TensorModel("loop")

    @edge_service(models=[loop])
    async def count(x: np.ndarray, trips: np.ndarray) -> np.ndarray:
        return (await loop.aio({"x": x, "trips": trips}))["y"]

    options = NodeOptions(name="edge", tier="edge", clearance=CLEARANCES["edge"])
    node = Node(options, OnnxRuntime(), store)
    await node.start([count.declaration], LocalCaller(node))
    try:
        with calling_through(LocalCaller(node)):
            endless = asyncio.create_task(count(**batch(ENDLESS)))
            await asyncio.sleep(0.2)  # it has reached the model's thread
            assert node.admission.inside == 1
            endless.cancel()
            with pytest.raises(asyncio.CancelledError):
                await endless
            async with asyncio.timeout(SOON):
                assert (await count(**batch(5))).tolist() == [5.0, 5.0]
    finally:
        await node.aclose()


def test_only_the_session_in_use_is_kept(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[weakref.ref[object]] = []
    open_session = OnnxRuntime._open

    def opened(self: OnnxRuntime, *arguments: Any) -> Any:
        made = open_session(self, *arguments)
        sessions.append(weakref.ref(made.session))
        return made

    monkeypatch.setattr(OnnxRuntime, "_open", opened)
    made = OnnxRuntime(cores=4)
    folder = store.open("loop")
    made.load(TensorModel("loop"), folder)
    one, other, *_ = made.ways(folder)
    assert (one.runs, one.threads, other.runs, other.threads) == (4, 1, 1, 4)
    for way in (one, other, one):
        assert made.open("loop", way)(batch(3), Stop())["y"].tolist() == [3.0, 3.0]
    assert len(sessions) == 2
    made.use("loop", other)
    gc.collect()
    assert [session() is not None for session in sessions] == [False, True]
    assert made.run("loop", batch(5), Stop())["y"].tolist() == [5.0, 5.0]


def test_an_accelerator_has_one_way_whatever_graphs_there_are(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = OnnxRuntime(cores=4), store.open("loop")
    assert len(made.ways(folder)) == 4
    monkeypatch.setattr(made, "_providers", lambda: ["CUDAExecutionProvider", CPU])
    assert [str(way) for way in made.ways(folder)] == ["full-fused, 1 run x 4 threads"]
    assert made.device == "cuda"


def add_linear(store: ModelStore, name: str, *, int8: bool) -> None:
    """Add a model of one matrix, as it is or quantised dynamically."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])
    weights = np.random.default_rng(5).standard_normal((64, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        name,
        [x],
        [y],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with store.adding(name) as folder:
        (folder / ONNX).parent.mkdir()
        onnx.save(model, folder / ONNX)
        if int8:
            quantize_dynamic(folder / ONNX, folder / ONNX)
        inputs = [TensorEntry(name="x", dtype="float32", shape=("batch", 64))]
        write_manifest(
            folder,
            "tensor",
            inputs,
            [TensorEntry(name="y", dtype="float32", shape=("batch", 8))],
            {},
        )


@pytest.mark.parametrize("int8", [True, False])
async def test_dynamic_int8_is_found_to_depend_on_batch_mates_and_is_not_batched(
    store: ModelStore, int8: bool
) -> None:
    add_linear(store, "linear", int8=int8)
    pool, linear = ModelPool(store, OnnxRuntime()), TensorModel("linear")
    await pool.load(linear)
    assert [report.batched for report in pool.reports] == [not int8]
    x = np.random.default_rng(6).standard_normal((6, 64)).astype(np.float32)
    x *= np.arange(1, 7, dtype=np.float32)[:, None]
    together = (await pool.run(linear, {"x": x}, Meter()))["y"]
    alone = [(await pool.run(linear, {"x": x[n : n + 1]}, Meter()))["y"][0] for n in range(6)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    await pool.aclose()


def grown_graph() -> onnx.ModelProto:
    """A graph that makes an array of as many zeros as its input says, and adds them up."""
    count = helper.make_tensor_value_info("count", TensorProto.INT64, ["batch"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["one"])
    nodes = [
        helper.make_node("ConstantOfShape", ["count"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["total"], keepdims=0),
        helper.make_node("Constant", [], ["shape"], value_ints=[1]),
        helper.make_node("Reshape", ["total", "shape"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "grown", [count], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_batch_without_memory_is_a_memory_error_and_the_next_run_is_well(
    store: ModelStore,
) -> None:
    with store.adding("grown") as folder:
        (folder / ONNX).parent.mkdir()
        onnx.save(grown_graph(), folder / ONNX)
        entry = TensorEntry(name="count", dtype="int64", shape=("batch",))
        answer = TensorEntry(name="y", dtype="float32", shape=("one",))
        write_manifest(folder, "tensor", [entry], [answer], {})
    made = OnnxRuntime()
    made.load(TensorModel("grown"), store.open("grown"))
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        made.run("grown", {"count": np.array([2**42])}, Stop())
    assert made.run("grown", {"count": np.array([4])}, Stop())["y"].tolist() == [0.0]


def test_it_runs_on_the_cpu_here_and_says_so(runtime: OnnxRuntime) -> None:
    assert runtime.device == "cpu"
    assert runtime.health() is None


def damaged(store: ModelStore) -> StoredModel:
    folder = store.open("loop")
    folder.file(ONNX).write_bytes(b"no graph")
    return folder


def test_a_file_that_is_no_graph_is_model_unavailable(store: ModelStore) -> None:
    made, folder = OnnxRuntime(), damaged(store)
    made.load(TensorModel("loop"), folder)
    with pytest.raises(ModelUnavailable, match="'loop': ONNX Runtime cannot load it"):
        made.open("loop", made.ways(folder)[0])


def test_a_model_without_a_form_for_the_edge_names_the_cure_and_may_say_so_to_callers(
    tmp_path: Path,
) -> None:
    fake_model(tmp_path, "formless", [], [])
    with pytest.raises(ModelUnavailable, match="isthmus models add") as caught:
        OnnxRuntime().load(TensorModel("formless"), ModelStore(tmp_path).open("formless"))
    assert caught.value.shareable
    assert "ONNX Runtime cannot" not in str(caught.value)


def test_a_wrong_provider_is_found_out_at_the_first_load(store: ModelStore) -> None:
    with pytest.raises(Exception, match="provider Abacus is not present"):
        OnnxRuntime("Abacus").load(TensorModel("loop"), store.open("loop"))


SCRIPT = """
import asyncio, sys
from pathlib import Path

for name in ("torch", "transformers"):
    sys.modules[name] = None  # whoever imports them fails

from edge_node.providers import CPU
from edge_node.runtime import OnnxRuntime
from orchestrator.core.model import Stop
from orchestrator.models.store import ModelStore
from orchestrator.models.text import TextEmbedding

model, runtime = TextEmbedding("minilm"), OnnxRuntime()
folder = ModelStore(Path(sys.argv[1])).open("minilm")
folder.verify("edge")
runtime.load(model, folder)
processor = model.processor(folder)
answer = runtime.run("minilm", processor.collate(processor.rows(["hello"])), Stop())
print(processor.result(processor.split(answer, 1)).shape)
print([name for name in sys.modules if name.startswith(("torch.", "transformers."))])
"""


def test_the_edge_embeds_texts_without_torch_and_transformers(minilm_store: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(minilm_store)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.splitlines() == ["(1, 384)", "[]"], done.stderr
