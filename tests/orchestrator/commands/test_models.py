import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.commands.models import (
    ModelRow,
    as_data,
    as_table,
    parse_input,
    row_of,
    rows_of,
)
from orchestrator.core.errors import UsageError
from orchestrator.core.model import TensorSpec
from orchestrator.models.store import ModelStore
from orchestrator.testing import fake_model

if TYPE_CHECKING:
    from tests.orchestrator.commands.conftest import Rendered

X = TensorSpec("x", "float32", ("batch", 8))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Two models; one has a file that changed after it was added."""
    fake_model(tmp_path, "good", [X], [X])
    fake_model(tmp_path, "changed", [X], [X])
    (tmp_path / "changed/fake.txt").write_text("Somebody was here.\n")
    return ModelStore(tmp_path)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("x:float32[batch,8]", TensorSpec("x", "float32", ("batch", 8))),
        ("ids:int64[batch,tokens]", TensorSpec("ids", "int64", ("batch", "tokens"))),
        ("x:float16[batch,3,224,224]!", TensorSpec("x", "float16", ("batch", 3, 224, 224), True)),
        ("x:float32[batch]", TensorSpec("x", "float32", ("batch",))),
    ],
)
def test_an_input_on_the_command_line_is_read(text: str, spec: TensorSpec) -> None:
    assert parse_input(text) == spec


@pytest.mark.parametrize(
    "text", ["", "x", "x:float32", "x:nope[batch]", ":float32[batch]", "x:float32[]", "x:[batch]"]
)
def test_an_input_written_in_another_way_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r'write "x:float32\[batch,8\]"'):
        parse_input(text)


@pytest.mark.parametrize(
    "text", ["x:float32[batch,8", "x:float32[batch,-8]", "x:float32[batch,8]?"]
)
def test_a_slip_of_the_pen_is_refused_and_not_guessed(text: str) -> None:
    with pytest.raises(UsageError):
        parse_input(text)


def test_a_list_shows_every_model_and_reads_no_files(store: ModelStore) -> None:
    rows = rows_of(store, verify=False)
    assert [(row.name, row.problem) for row in rows] == [("changed", ""), ("good", "")]
    assert {row.kind for row in rows} == {"tensor"}


def test_verifying_finds_the_model_whose_file_changed_and_says_what_to_do(
    store: ModelStore,
) -> None:
    changed, good = rows_of(store, verify=True)
    assert good.problem == ""
    assert "fake.txt differs from the manifest" in changed.problem
    assert "add the model again" in changed.problem
    assert changed.version == row_of(store.open("changed").manifest).version


def test_a_manifest_that_cannot_be_read_is_a_row_with_a_problem(store: ModelStore) -> None:
    (store.path / "good/manifest.json").write_text("{")
    row = rows_of(store, verify=False)[1]
    assert (row.name, row.version) == ("good", "-")
    assert "the manifest of model 'good'" in row.problem


def test_an_empty_store_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(ModelStore(tmp_path), verify=True) == []


@pytest.mark.parametrize("verify", [True, False])
def test_a_store_that_is_not_there_is_named_with_the_cure(verify: bool, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(UsageError, match=f"there is no model store {nowhere}: name it with --mod"):
        rows_of(ModelStore(nowhere), verify=verify)


def test_data_and_table_tell_the_same(store: ModelStore, rendered: "Rendered") -> None:
    rows = rows_of(store, verify=True)
    data = json.loads(json.dumps(as_data(rows)))
    text = rendered(as_table(rows, store.path))
    for row in data:
        assert row["name"] in text
        assert row["version"] in text
        assert row["problem"] in text


def test_words_in_brackets_stay_in_the_table(rendered: "Rendered") -> None:
    row = ModelRow("m", "1", "tensor", ("edge",), 0.1, "pip install isthmus[edge]")
    assert "pip install isthmus[edge]" in rendered(as_table([row], Path()))
