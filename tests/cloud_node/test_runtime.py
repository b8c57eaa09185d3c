import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cloud_node.runtime import TorchRuntime
from orchestrator.core.errors import ModelUnavailable, SettingsError
from orchestrator.core.model import Stop, Stopped, TensorSpec
from orchestrator.models.store import ModelStore, StoredModel
from orchestrator.models.tensor import TensorModel
from orchestrator.testing import fake_model

X = {"x": np.ones((2, 3), np.float32)}
SPECS = [TensorSpec("x", "float32", ("batch", 3))], [TensorSpec("y", "float32", ("batch", 3))]


class Layer(torch.nn.Module):
    """Adds one; `seen` is told of every run."""

    def __init__(self, seen: Callable[[], None]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen()
        return x + 1


class Built(TensorModel):
    """A model whose torch form the test built."""

    def __init__(self, build: Callable[[], Any]) -> None:
        super().__init__("built")
        self.build = build

    def module(self, folder: Any) -> Any:
        return self.build()


@pytest.fixture
def folder(tmp_path: Path) -> StoredModel:
    fake_model(tmp_path, "built", *SPECS)
    return ModelStore(tmp_path).open("built")


def loaded(folder: StoredModel, build: Callable[[], Any]) -> TorchRuntime:
    runtime = TorchRuntime("cpu")
    runtime.load(Built(build), folder)
    return runtime


def test_a_stop_ends_a_run_between_two_layers(folder: StoredModel) -> None:
    stop, runs = Stop(), list[int]()

    def seen() -> None:
        runs.append(1)
        if len(runs) == 3:
            stop.request()

    runtime = loaded(folder, lambda: torch.nn.Sequential(*(Layer(seen) for _ in range(100))))
    with pytest.raises(Stopped):
        runtime.run("built", X, stop)
    assert len(runs) == 3
    # The control: without a stop all layers run, and the stopped run has left no trace.
    np.testing.assert_array_equal(runtime.run("built", X, Stop())["y"], X["x"] + 100)
    assert len(runs) == 103


def test_a_stop_before_the_run_lets_no_layer_run(folder: StoredModel) -> None:
    runs: list[int] = []
    runtime = loaded(folder, lambda: torch.nn.Sequential(Layer(lambda: runs.append(1))))
    stop = Stop()
    stop.request()
    with pytest.raises(Stopped):
        runtime.run("built", X, stop)
    assert runs == []


def test_a_stop_ends_its_own_run_alone(folder: StoredModel) -> None:
    both, mine, others = threading.Barrier(2, timeout=20), Stop(), Stop()

    def meet() -> None:
        both.wait()
        mine.request()

    runtime = loaded(folder, lambda: torch.nn.Sequential(Layer(meet), Layer(lambda: None)))
    answers: list[Any] = []

    def run(stop: Stop) -> None:
        try:
            answers.append(runtime.run("built", X, stop)["y"].sum())
        except Stopped:
            answers.append("stopped")

    threads = [threading.Thread(target=run, args=(stop,)) for stop in (mine, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["18.0", "stopped"]


def test_a_model_runs_as_in_use_and_not_as_in_training(folder: StoredModel) -> None:
    runtime = loaded(folder, lambda: torch.nn.Sequential(torch.nn.Dropout(0.99)))
    np.testing.assert_array_equal(runtime.run("built", X, Stop())["y"], X["x"])


class Greedy(torch.nn.Module):
    """Wants as many bytes as its first element says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(int(x[0, 0]), dtype=torch.int8)[0]


class OutOfMemory(torch.nn.Module):
    """Fails as an accelerator without memory does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(("build", "wanted"), [(Greedy, 2.0**46), (OutOfMemory, 1.0)])
def test_a_batch_without_memory_is_a_memory_error(
    folder: StoredModel, build: Callable[[], Any], wanted: float
) -> None:
    runtime = loaded(folder, build)
    with pytest.raises(MemoryError):
        runtime.run("built", {"x": np.full((2, 3), wanted, np.float32)}, Stop())


def test_any_other_error_stays_what_it_is(folder: StoredModel) -> None:
    runtime = loaded(folder, fails_in_a_run)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        runtime.run("built", X, Stop())


def fails_in_a_run() -> Any:
    return torch.nn.Linear(7, 7)


def test_runs_do_not_overlap(folder: StoredModel) -> None:
    (way,) = loaded(folder, lambda: torch.nn.Linear(8, 8)).ways(folder)
    assert way.runs == 1


def test_a_graph_is_for_edge_nodes() -> None:
    with pytest.raises(SettingsError, match="--graph is for edge nodes"):
        TorchRuntime("cpu", graph="int8")


def fails() -> Any:
    raise RuntimeError("size mismatch for weights")


def test_a_model_that_cannot_be_built_is_model_unavailable_with_the_reason(
    folder: StoredModel,
) -> None:
    with pytest.raises(ModelUnavailable, match="'built': PyTorch cannot load it: size mism") as e:
        loaded(folder, fails)
    assert isinstance(e.value.__cause__, RuntimeError)


def test_a_model_without_factory_names_the_cure(folder: StoredModel) -> None:
    with pytest.raises(ModelUnavailable, match='factory="module:function"'):
        TorchRuntime("cpu").load(TensorModel("built"), folder)


def test_a_wanted_device_that_is_not_there_is_found_out_at_the_first_load(
    folder: StoredModel,
) -> None:
    with pytest.raises(SettingsError, match="'abacus' is not present"):
        TorchRuntime("abacus").load(Built(torch.nn.Identity), folder)


def test_it_knows_its_device_and_health_only_once_it_has_loaded(folder: StoredModel) -> None:
    runtime = TorchRuntime("cpu")
    assert (runtime.device, runtime.health()) == ("", None)
    runtime.load(Built(torch.nn.Identity), folder)
    assert (runtime.device, runtime.health()) == ("cpu", None)


def test_an_unloaded_models_memory_is_free(folder: StoredModel) -> None:
    built: list[weakref.ref[torch.nn.Module]] = []

    def build() -> torch.nn.Module:
        module = torch.nn.Sequential(torch.nn.Linear(3, 3))
        built.append(weakref.ref(module))
        return module

    runtime = loaded(folder, build)
    runtime.run("built", X, Stop())
    assert built[0]() is not None
    runtime.unload("built")
    gc.collect()
    assert built[0]() is None
