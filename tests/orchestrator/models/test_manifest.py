from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.core.model import TensorSpec
from orchestrator.models.manifest import (
    FileEntry,
    Manifest,
    TensorEntry,
    digest_of,
    tiers_of,
    version_of,
)

DIGEST = "0" * 64


def manifest(**changes: Any) -> dict[str, Any]:
    """Return a good manifest with some keys changed."""
    tensor = {"name": "x", "dtype": "float32", "shape": ["batch", 8]}
    file = {"path": "onnx/model.onnx", "sha256": DIGEST, "size": 1, "tiers": ["edge"]}
    good = {
        "format": 1,
        "name": "tiny",
        "version": "0123456789ab",
        "kind": "tensor",
        "inputs": [tensor],
        "outputs": [tensor],
        "files": [file],
        "options": {},
    }
    return {**good, **changes}


def entry(path: str, digest: str = DIGEST) -> FileEntry:
    return FileEntry(path=path, sha256=digest, size=1, tiers=("edge",))


def test_a_good_manifest_is_read() -> None:
    found = Manifest.model_validate(manifest())
    assert found.inputs[0].spec() == TensorSpec("x", "float32", ("batch", 8))
    assert [file.path for file in found.for_tier("edge")] == ["onnx/model.onnx"]
    assert found.for_tier("cloud") == []


@pytest.mark.parametrize(
    "path", ["../secret", "a/../../secret", "/etc/passwd", "..", "", ".", "torch/..", "//etc"]
)
def test_a_file_outside_of_the_models_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="inside the model's folder"):
        entry(path)


@given(st.text(alphabet="./ab\\", max_size=12))
def test_no_path_that_is_accepted_leads_out_of_the_folder(path: str) -> None:
    try:
        accepted = entry(path).path
    except ValidationError:
        return
    folder = Path("/store/model")
    assert folder in (folder / accepted).parents


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 2},
        {"format": "1"},
        {"kind": "pickle"},
        {"name": "../tiny"},
        {"name": ""},
        {"name": ".tiny"},
        {"name": "a b"},
        {"extra": 1},
        {"inputs": [{"name": "x", "dtype": "float32", "shape": [1], "axis": 0}]},
        {"files": [{"path": "a", "sha256": "abc", "size": 1, "tiers": ["edge"]}]},
        {"files": [{"path": "a", "sha256": DIGEST, "size": -1, "tiers": ["edge"]}]},
        {"files": [{"path": "a", "sha256": DIGEST, "size": 1, "tiers": ["fog"]}]},
        {"files": [{"path": "a", "sha256": DIGEST, "size": 1, "tiers": ["edge"], "url": "x"}]},
    ],
)
def test_unknown_keys_other_formats_and_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    Manifest.model_validate(manifest())
    with pytest.raises(ValidationError):
        Manifest.model_validate(manifest(**wrong))


@given(
    st.text(min_size=1),
    st.sampled_from(["float32", "int64", "bool"]),
    st.lists(st.integers(1, 9) | st.text(min_size=1), min_size=1).map(tuple),
    st.booleans(),
)
def test_a_tensor_survives_the_way_through_json(
    name: str, dtype: str, shape: tuple[int | str, ...], finite: bool
) -> None:
    spec = TensorSpec(name, dtype, shape, finite)
    text = TensorEntry.of(spec).model_dump_json()
    assert TensorEntry.model_validate_json(text).spec() == spec


def test_equal_files_have_equal_versions_in_any_order_and_a_change_gives_another() -> None:
    one, two = entry("a"), entry("b")
    version = version_of([one, two], {"pooling": "mean"})
    assert version == version_of([two, one], {"pooling": "mean"})
    assert version != version_of([one, two], {"pooling": "cls"})
    assert version != version_of([one, entry("b", "1" * 64)], {"pooling": "mean"})
    assert version != version_of([one, entry("c")], {"pooling": "mean"})


def test_each_tier_needs_its_own_form_and_both_need_the_rest() -> None:
    assert tiers_of("onnx/model.onnx") == ("edge",)
    assert tiers_of("torch/model.safetensors") == ("cloud",)
    assert tiers_of("tokenizer.json") == ("edge", "cloud")


def test_the_digest_is_the_files_sha_256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert digest_of(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")
