import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.errors import ModelUnavailable, UsageError
from orchestrator.core.model import TensorSpec
from orchestrator.models.manifest import MANIFEST
from orchestrator.models.store import ModelStore, write_manifest
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.pool import ModelPool
from orchestrator.testing import FakeRuntime, fake_model

X = TensorSpec("x", "float32", ("batch", 8))
Y = TensorSpec("output", "float32", ("batch", 4))
CURE = "isthmus models add"


def add(store: ModelStore, name: str = "tiny", text: str = "weights", **options: Any) -> None:
    """Add a model with a file for each tier and one for both."""
    with store.adding(name, **options) as folder:
        for path in ("onnx/model.onnx", "torch/model.safetensors", "tokenizer.json"):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        write_manifest(folder, "tensor", [], [], {})


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with the model "tiny"."""
    made = ModelStore(tmp_path / "models")
    add(made)
    return made


def test_a_model_that_was_added_is_there_and_whole(store: ModelStore) -> None:
    model = store.open("tiny")
    for tier in ("edge", "cloud", None):
        model.verify(tier)
    assert store.names() == ["tiny"]
    assert model.file("tokenizer.json").read_text() == "weights"
    assert [entry.path for entry in model.manifest.for_tier("edge")] == [
        "onnx/model.onnx",
        "tokenizer.json",
    ]


def test_a_model_that_is_not_there_is_named_with_the_commands_that_add_it(
    store: ModelStore,
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        store.open("ghost")
    added, there = "`isthmus models add ghost", f"--models {store.path}`"
    made = "--factory module:function --input 'name:dtype[axes]'"
    assert f"{added} --from <folder> {there} puts a text embedding there" in str(caught.value)
    assert f"{added} {made} {there} a module of your own" in str(caught.value)


def test_a_store_that_does_not_exist_is_an_empty_one(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "nowhere")
    assert store.names() == []
    with pytest.raises(ModelUnavailable, match=CURE):
        store.open("tiny")
    assert not store.path.exists()


@pytest.mark.parametrize("tier", ["edge", None])
def test_a_damaged_file_is_found_and_named(store: ModelStore, tier: Any) -> None:
    path = store.path / "tiny/onnx/model.onnx"
    path.write_text("w3ights")  # of the same size
    with pytest.raises(ModelUnavailable, match=r"onnx/model\.onnx differs from the man") as caught:
        store.open("tiny").verify(tier)
    assert CURE in str(caught.value)
    store.open("tiny").verify("cloud")  # which does not need that file


def test_a_missing_file_is_found_and_named(store: ModelStore) -> None:
    (store.path / "tiny/tokenizer.json").unlink()
    for tier in ("edge", "cloud"):
        with pytest.raises(ModelUnavailable, match=r"tokenizer\.json is missing"):
            store.open("tiny").verify(tier)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_that_is_a_link_is_refused_though_its_bytes_are_right(
    store: ModelStore, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    path, elsewhere = store.path / "tiny/onnx/model.onnx", tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    link(elsewhere, path)
    with pytest.raises(ModelUnavailable, match="is a link, not a file of its own"):
        store.open("tiny").verify("edge")


def test_a_file_in_a_folder_that_is_a_link_is_refused(store: ModelStore, tmp_path: Path) -> None:
    shutil.move(store.path / "tiny/onnx", tmp_path / "elsewhere")
    (store.path / "tiny/onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelUnavailable, match="link"):
        store.open("tiny").verify("edge")


def test_a_tier_without_a_form_is_told_so(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with store.adding("tiny") as folder:
        (folder / "onnx").mkdir()
        (folder / "onnx/model.onnx").write_text("graph")
        write_manifest(folder, "tensor", [], [], {})
    store.open("tiny").verify("edge")
    with pytest.raises(ModelUnavailable, match="has no form for the cloud"):
        store.open("tiny").verify("cloud")


def test_only_listed_files_are_given_out(store: ModelStore) -> None:
    (store.path / "tiny/extra.txt").write_text("not listed")
    for path in ("extra.txt", MANIFEST, "../tiny/tokenizer.json", "onnx"):
        with pytest.raises(ModelUnavailable, match="has no file"):
            store.open("tiny").file(path)


def rewrite(store: ModelStore, **changes: Any) -> None:
    path = store.path / "tiny" / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"format": 2}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"kind": "pickle"}, "kind"),
        ({"files": [{"path": "../../x", "sha256": "0" * 64, "size": 0, "tiers": []}]}, "files.0"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_named_with_the_place(
    store: ModelStore, changes: dict[str, Any], where: str
) -> None:
    rewrite(store, **changes)
    with pytest.raises(ModelUnavailable, match="the manifest of model 'tiny'") as caught:
        store.open("tiny")
    assert where in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_a_manifest_that_is_no_json_is_model_unavailable(store: ModelStore, text: str) -> None:
    (store.path / "tiny" / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelUnavailable, match="the manifest of model 'tiny'"):
        store.open("tiny")


def test_a_manifest_of_another_format_says_how_to_make_a_new_one(store: ModelStore) -> None:
    rewrite(store, format=2)
    with pytest.raises(ModelUnavailable, match=CURE):
        store.open("tiny")


def test_a_store_that_is_a_file_is_model_unavailable(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("I am no folder")
    with pytest.raises(ModelUnavailable):
        ModelStore(tmp_path / "models").open("tiny")


async def test_a_model_whose_folder_was_renamed_is_model_unavailable(tmp_path: Path) -> None:
    fake_model(tmp_path, "old", [X], [Y])
    shutil.move(tmp_path / "old", tmp_path / "new")
    pool = ModelPool(ModelStore(tmp_path), FakeRuntime("edge", {"old": lambda batch, stop: batch}))
    with pytest.raises(ModelUnavailable, match="old"):
        await pool.load(TensorModel("new"))


def test_a_second_model_of_one_name_needs_to_be_asked_for(store: ModelStore) -> None:
    version = store.open("tiny").version
    with pytest.raises(UsageError, match="--replace"):
        add(store, text="other")
    assert store.open("tiny").version == version
    add(store, text="other", replace=True)
    assert store.open("tiny").version != version
    store.open("tiny").verify()


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_adding_that_is_broken_off_leaves_nothing_behind(
    store: ModelStore, replace: bool, error: type[BaseException]
) -> None:
    def begin(name: str) -> None:
        with store.adding(name, replace=replace) as folder:
            (folder / "half").write_text("half")
            raise error

    with pytest.raises(error):
        begin("tiny" if replace else "other")
    assert [path.name for path in store.path.iterdir()] == ["tiny"]
    store.open("tiny").verify()


def test_a_model_is_not_seen_before_it_is_whole(store: ModelStore) -> None:
    with store.adding("other") as folder:
        write_manifest(folder, "tensor", [], [], {})
        assert store.names() == ["tiny"]
    assert store.names() == ["other", "tiny"]


def test_of_two_who_add_one_name_at_once_the_second_is_refused(store: ModelStore) -> None:
    def add_slowly() -> None:
        with store.adding("other") as folder:
            add(store, "other", text="first")
            write_manifest(folder, "tensor", [], [], {})

    with pytest.raises(UsageError, match="--replace"):
        add_slowly()
    assert store.open("other").file("tokenizer.json").read_text() == "first"


@pytest.mark.parametrize("name", ["../outside", "a/b", "a b", ".hidden", "-flag"])
def test_a_name_that_cannot_be_a_folder_of_the_store_is_refused_at_once(
    store: ModelStore, name: str
) -> None:
    before = sorted(store.path.parent.rglob("*"))
    with pytest.raises(UsageError), store.adding(name):
        pytest.fail("the work had begun")
    assert sorted(store.path.parent.rglob("*")) == before
