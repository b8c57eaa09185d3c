import os
from pathlib import Path

import pytest

from orchestrator.core.model import Way
from orchestrator.serving.learned import Learned, Notebook, chosen

FOUND = Learned(way="full, 2 runs x 1 thread", batched=True, costs=((1, 8, 0.5), (4, 8, 1.5)))


def test_what_was_written_is_read_by_whoever_has_the_same_facts(tmp_path: Path) -> None:
    Notebook(tmp_path / "learned", ["m", 1]).write(FOUND)
    assert Notebook(tmp_path / "learned", ["m", 1]).read() == FOUND
    assert Notebook(tmp_path / "learned", ["m", 2]).read() is None
    assert Notebook(tmp_path / "elsewhere", ["m", 1]).read() is None


def test_it_holds_for_this_processor_and_software_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Notebook(tmp_path, ["m"]).write(FOUND)
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.serving.learned._machine", lambda: ["another"])
        assert Notebook(tmp_path, ["m"]).read() is None
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.serving.learned.version", lambda name: "0.0")
        assert Notebook(tmp_path, ["m"]).read() is None
    assert Notebook(tmp_path, ["m"]).read() == FOUND


@pytest.mark.parametrize(
    "spoilt", ["", "{}", '{"way": "w", "batched": true, "costs": [[0, 1, 1.0]]}', "[1"]
)
def test_what_cannot_be_read_is_as_nothing(
    tmp_path: Path, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    Notebook(tmp_path, ["m"]).write(FOUND)
    (file,) = tmp_path.iterdir()
    file.write_text(spoilt)
    assert Notebook(tmp_path, ["m"]).read() is None
    assert "is tried out anew" in caplog.text


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A place where nothing can be made: not even the superuser can make a folder in a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "learned"


def test_where_nobody_may_write_nothing_is_kept_and_nothing_fails(read_only: Path) -> None:
    notebook = Notebook(read_only, ["m"])
    notebook.write(FOUND)
    assert notebook.read() is None


def test_no_half_written_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    Notebook(tmp_path, ["m"]).write(FOUND)
    assert list(tmp_path.iterdir()) == []


def test_a_way_that_is_not_on_offer_any_more_is_not_chosen() -> None:
    known, other = Way("full", 2, 1), Way("full", 1, 2)
    assert chosen(FOUND, [other, known]) == known
    assert chosen(FOUND, [other]) is None
