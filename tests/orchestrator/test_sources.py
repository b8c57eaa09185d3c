from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from orchestrator.core.errors import SettingsError
from orchestrator.sources import load


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int = 1


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = "default"
    part: Part = Part()
    maybe: Part | None = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "whole.yaml"
    path.write_text("name: file\npart: {size: 2}\n")
    return path


def test_what_is_given_wins_over_the_environment_over_the_file_over_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(Whole, "WHOLE_", None, {}) == Whole()
    assert load(Whole, "WHOLE_", file, {}) == Whole(name="file", part=Part(size=2))
    monkeypatch.setenv("WHOLE_NAME", "environment")
    monkeypatch.setenv("WHOLE_PART__SIZE", "3")
    assert load(Whole, "WHOLE_", file, {}) == Whole(name="environment", part=Part(size=3))
    assert load(Whole, "WHOLE_", file, {"name": "given"}).name == "given"


def test_the_kind_that_was_asked_for_comes_back(file: Path) -> None:
    assert type(load(Whole, "WHOLE_", file, {})) is Whole


def test_an_unknown_key_of_a_section_that_may_be_missing_is_named_with_its_cure(
    file: Path,
) -> None:
    file.write_text("maybe: {sise: 3}\n")
    with pytest.raises(SettingsError, match=r"maybe\.sise: unknown key 'sise'; did you mean size"):
        load(Whole, "WHOLE_", file, {})


def test_variables_of_somebody_else_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHOLE_OTHER_NAME", "x")
    with pytest.raises(SettingsError, match="WHOLE_OTHER_NAME: unknown key"):
        load(Whole, "WHOLE_", None, {})
    assert load(Whole, "WHOLE_", None, {}, apart="WHOLE_OTHER_") == Whole()
