import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cloud_node.runtime import TorchRuntime
from edge_node.runtime import OnnxRuntime
from orchestrator.core.context import calling_through
from orchestrator.core.errors import InvalidInput, ModelUnavailable
from orchestrator.core.model import Array, Batch, Runtime, Stop, Stopped, TensorSpec
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.models.export import add_tensor_model
from orchestrator.models.store import ModelStore, StoredModel
from orchestrator.models.tensor import WEIGHTS, TensorModel
from orchestrator.serving.embedded import CLEARANCES
from orchestrator.serving.local import LocalCaller
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.testing import FakeRuntime

Tensors = dict[str, np.ndarray]
FACTORY = f"{__name__}:two_layers"
TINY = TensorModel("tiny", factory=FACTORY)
X = TensorSpec("x", "float32", ("batch", 8), finite=True)


def two_layers() -> Any:
    """Two linear layers with weights that are always the same."""
    import torch

    torch.manual_seed(11)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> StoredModel:
    """The tiny model in both forms, made once for all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    path = (base if worker_id == "master" else base.parent) / "tiny-store"
    with FileLock(f"{path}.lock"):
        if not ModelStore(path).names():
            add_tensor_model(ModelStore(path), "tiny", FACTORY, [X], progress=lambda step: None)
    return ModelStore(path).open("tiny")


def by_hand(folder: StoredModel) -> Callable[[Batch, Stop], Batch]:
    """Return what the tiny model computes, in numpy."""
    from safetensors.numpy import load_file

    weights = load_file(folder.file(WEIGHTS))

    def compute(batch: Batch, stop: Stop) -> Batch:
        stop.check()
        hidden = np.maximum(batch["x"] @ weights["0.weight"].T + weights["0.bias"], 0)
        return {"output": hidden @ weights["2.weight"].T + weights["2.bias"]}

    return compute


MAKERS: dict[str, Callable[[StoredModel], Runtime]] = {
    "fake": lambda folder: FakeRuntime("edge", {"tiny": by_hand(folder)}),
    "onnx": lambda folder: OnnxRuntime(threads=1),
    "torch": lambda folder: TorchRuntime("cpu"),
}


@pytest.fixture(scope="module", params=MAKERS)
def loaded(request: pytest.FixtureRequest, tiny: StoredModel) -> Iterator[Runtime]:
    """Each runtime in turn, with the tiny model loaded; for tests that leave it as it is."""
    runtime = MAKERS[request.param](tiny)
    runtime.load(TINY, tiny)
    yield runtime
    runtime.unload("tiny")


@pytest.fixture(params=MAKERS)
def fresh(request: pytest.FixtureRequest, tiny: StoredModel) -> Runtime:
    """Each runtime in turn, with nothing loaded."""
    return MAKERS[request.param](tiny)


def rows(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)


def answer(runtime: Runtime, x: Array) -> Array:
    return runtime.run("tiny", {"x": x}, Stop())["output"]


def test_a_batch_is_answered_by_output_name_in_the_order_of_its_rows(
    loaded: Runtime, tiny: StoredModel
) -> None:
    x = rows(5)
    answers = loaded.run("tiny", {"x": x}, Stop())
    assert list(answers) == ["output"]
    assert answers["output"].dtype == np.float32
    expected = by_hand(tiny)({"x": x}, Stop())["output"]
    np.testing.assert_allclose(answers["output"], expected, atol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    x=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.just(8)),
        elements=st.floats(-100, 100, width=32),
    ),
    data=st.data(),
)
def test_batch_mates_do_not_change_an_answer(
    loaded: Runtime, x: Array, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(x) - 1))
    together, alone = answer(loaded, x)[place], answer(loaded, x[place : place + 1])[0]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-4)


def test_answers_are_the_callers_own_and_later_runs_do_not_write_over_them(
    loaded: Runtime,
) -> None:
    first = answer(loaded, rows(3, seed=1))
    kept = first.copy()
    answer(loaded, rows(3, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_a_run_does_not_change_its_inputs(loaded: Runtime) -> None:
    x = rows(3)
    before = x.copy()
    answer(loaded, x)
    np.testing.assert_array_equal(x, before)


def test_a_stop_that_was_asked_for_ends_the_run(loaded: Runtime) -> None:
    stop = Stop()
    stop.request()
    with pytest.raises(Stopped):
        loaded.run("tiny", {"x": rows(1)}, stop)
    assert answer(loaded, rows(1)).shape == (1, 4)


def test_a_stop_after_the_run_does_no_harm(loaded: Runtime) -> None:
    stop = Stop()
    loaded.run("tiny", {"x": rows(1)}, stop)
    stop.request()
    assert answer(loaded, rows(1)).shape == (1, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": np.zeros((2, 7), np.float32)},
        {"x": np.zeros((2, 8), np.float64)},
        {"y": np.zeros((2, 8), np.float32)},
    ],
    ids=["shape", "dtype", "name"],
)
def test_a_batch_that_does_not_fit_harms_its_own_run_alone(loaded: Runtime, wrong: Batch) -> None:
    with suppress(Exception):  # the processor stands before: here it need not be in our words
        loaded.run("tiny", wrong, Stop())
    assert answer(loaded, rows(2)).shape == (2, 4)


def test_runs_of_several_threads_get_their_own_answers(loaded: Runtime) -> None:
    expected = [answer(loaded, rows(4, seed)) for seed in range(8)]
    found: dict[int, Array] = {}

    def run(seed: int) -> None:
        for _ in range(20):
            found[seed] = answer(loaded, rows(4, seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        np.testing.assert_allclose(found[seed], expected[seed], atol=1e-6)


def test_every_way_that_is_offered_answers_alike_beside_the_others_and_in_use(
    fresh: Runtime, tiny: StoredModel
) -> None:
    ways = fresh.ways(tiny)
    assert all(way.runs >= 1 for way in ways)
    fresh.load(TINY, tiny)
    before = answer(fresh, rows(3))
    for way in ways:
        opened = fresh.open("tiny", way)({"x": rows(3)}, Stop())["output"]
        np.testing.assert_allclose(opened, before, atol=1e-6)
        fresh.use("tiny", way)
        np.testing.assert_allclose(answer(fresh, rows(3)), before, atol=1e-6)
    fresh.unload("tiny")


def test_it_says_where_it_computes_and_is_well(loaded: Runtime) -> None:
    assert loaded.device in ("cpu", "fake")
    assert loaded.tier in ("edge", "cloud")
    assert loaded.health() is None


def test_a_model_that_was_unloaded_may_be_loaded_again(fresh: Runtime, tiny: StoredModel) -> None:
    answers = []
    for _ in range(2):
        fresh.load(TINY, tiny)
        answers.append(answer(fresh, rows(2)))
        fresh.unload("tiny")
    np.testing.assert_array_equal(answers[0], answers[1])


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_a_damaged_form_is_model_unavailable_and_names_the_model(
    tiny: StoredModel, tmp_path: Path, kind: str
) -> None:
    store = ModelStore(tmp_path)
    with store.adding("tiny") as folder:
        for entry in tiny.manifest.files:
            (folder / entry.path).parent.mkdir(exist_ok=True)
            (folder / entry.path).write_bytes(b"damaged")
        (folder / "manifest.json").write_text(tiny.manifest.model_dump_json())
    runtime = MAKERS[kind](tiny)
    damaged = store.open("tiny")

    def load_and_open() -> None:
        runtime.load(TINY, damaged)
        runtime.open("tiny", runtime.ways(damaged)[0])

    with pytest.raises(ModelUnavailable, match="tiny"):
        load_and_open()


@pytest.fixture
def node_of(tiny: StoredModel) -> Callable[[Runtime], Node]:
    """Makes a node around a runtime, over the tiny model's store."""

    def make(runtime: Runtime) -> Node:
        tier = runtime.tier
        options = NodeOptions(name=tier, tier=tier, clearance=CLEARANCES[tier])
        return Node(options, runtime, ModelStore(tiny.path.parent))

    return make


async def test_a_model_service_runs_on_a_node_and_refuses_what_does_not_fit(
    fresh: Runtime, tiny: StoredModel, node_of: Callable[[Runtime], Node]
) -> None:
    decorate: Any = edge_service if fresh.tier == "edge" else cloud_service
    score = decorate(TINY)
    node = node_of(fresh)
    await node.start([score.declaration], LocalCaller(node))
    x = rows(3)
    bad = x.copy()
    bad[0, 0] = np.nan
    try:
        with calling_through(LocalCaller(node)):
            given = await score.aio({"x": x})
            empty = await score.aio({"x": x[:0]})
            for wrong in ({"x": x[:, 1:]}, {"x": x.astype(np.float64)}, {"x": bad}, {"y": x}, {}):
                with pytest.raises(InvalidInput, match="model 'tiny'"):
                    await score.aio(wrong)
    finally:
        await node.aclose()
    np.testing.assert_allclose(
        given["output"], by_hand(tiny)({"x": x}, Stop())["output"], atol=1e-5
    )
    assert empty["output"].shape == (0, 4)
