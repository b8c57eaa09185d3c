from pathlib import Path

import pytest

from orchestrator.commands.finding import find_settings
from orchestrator.core.errors import SettingsError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with an empty working folder and an empty home."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def test_a_given_file_wins_over_every_other(home: Path) -> None:
    (home / "work/isthmus.yaml").write_text("")
    given = home / "other.yaml"
    given.write_text("")
    assert find_settings(given) == given


def test_the_file_of_the_working_folder_wins_over_the_users_own(home: Path) -> None:
    own = home / "config/isthmus/isthmus.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert find_settings(None) == own
    (home / "work/isthmus.yaml").write_text("")
    assert find_settings(None) == Path("isthmus.yaml")


def test_a_given_file_that_is_not_there_is_not_replaced_by_another(home: Path) -> None:
    (home / "work/isthmus.yaml").write_text("")
    with pytest.raises(SettingsError, match=r"there is no nope\.yaml"):
        find_settings(Path("nope.yaml"))


def test_where_it_looked_and_what_to_do_stand_in_the_error(home: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        find_settings(None)
    own = home / "config/isthmus/isthmus.yaml"
    assert f"there is no isthmus.yaml or {own}: write one" in str(caught.value)


def test_without_xdg_the_users_own_is_below_dot_config(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(home))
    own = home / ".config/isthmus/isthmus.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert find_settings(None) == own
