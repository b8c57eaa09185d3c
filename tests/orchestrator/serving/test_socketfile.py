import os
import socket
import stat
from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.serving.socketfile import SocketFile


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge.sock"


def test_the_file_is_for_this_user_alone_and_is_removed_at_the_end(path: Path) -> None:
    before = os.umask(0)
    try:
        file = SocketFile(path)
        with file.making(), listen(path):
            assert os.umask(0o177) == 0o177
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(0) == 0
        file.remove()
        assert not path.exists()
    finally:
        os.umask(before)


def test_the_file_of_a_dead_node_is_replaced(path: Path) -> None:
    listen(path).close()
    assert path.exists()
    file = SocketFile(path)
    file.check()
    with file.making(), listen(path):
        pass


def test_the_file_of_a_living_node_stays_and_the_error_names_the_cure(path: Path) -> None:
    with listen(path) as living:
        with pytest.raises(SettingsError, match="end that node, or give --socket another path"):
            SocketFile(path).check()
        with pytest.raises(SettingsError), SocketFile(path).making():
            pytest.fail("it was taken away")
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            living.accept()[0].close()


def test_another_file_is_never_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(SettingsError, match="is no socket"):
        SocketFile(path).check()
    assert path.read_text() == "precious"


def test_the_file_of_a_successor_is_not_removed(path: Path) -> None:
    file = SocketFile(path)
    with file.making(), listen(path):
        pass
    path.rename(path.with_name("old"))
    with listen(path):
        file.remove()
        assert path.exists()


def test_a_path_that_is_too_long_or_has_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="at most 107 bytes"):
        SocketFile(tmp_path / ("x" * 108)).check()
    with pytest.raises(SettingsError, match="there is no folder"):
        SocketFile(tmp_path / "none" / "edge.sock").check()


def test_the_longest_path_that_passes_can_be_bound(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (107 - len(os.fsencode(tmp_path)) - 1))
    SocketFile(path).check()
    listen(path).close()
