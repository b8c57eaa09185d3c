"""What the tests of the commands share: a settings file, and a table as people see it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

Write = Callable[[str], Path]
Rendered = Callable[[RenderableType], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a settings file, in an environment without settings."""
    for name in ("ISTHMUS_NODES", "ISTHMUS_MODELS", "ISTHMUS_POLICIES", "ISTHMUS_MAX_CALL_MIB"):
        monkeypatch.delenv(name, raising=False)

    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def rendered() -> Rendered:
    """Turns a table into the text of a wide terminal."""

    def rendered(table: RenderableType) -> str:
        console = Console(file=io.StringIO(), width=300)
        console.print(table)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    return rendered
