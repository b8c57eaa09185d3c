import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def check(page: str) -> dict[int, str]:
    """Return the lines of a page in which mypy --strict finds an error."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", f"{page}.py"]
    # Started in this folder, so that wrong.py finds right.py beside it; `packages` of the
    # project's own configuration would be checked instead of the page.
    command += ["--config-file=", f"--cache-dir={ROOT / '.mypy_cache'}", "--hide-error-context"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER)
    assert found.returncode in (0, 1), found.stderr
    pattern = re.compile(rf"{page}\.py:(\d+): error: (.*)")
    return {int(m[1]): m[2] for line in found.stdout.splitlines() if (m := pattern.match(line))}


def test_right_uses_have_no_error() -> None:
    assert check("right") == {}


def test_wrong_uses_have_an_error_each() -> None:
    lines = (FOLDER / "wrong.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# E:" in line}
    assert len(marked) > 40
    assert set(check("wrong")) == marked
