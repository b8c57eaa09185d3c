"""Generate the Python of every .proto: `python -m protos.generate`, or `--check` for freshness."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path.relative_to(ROOT) for path in (ROOT / "protos").rglob("*.proto"))


def generate(target: Path) -> list[Path]:
    """Write the generated files below the target folder; return their relative paths."""
    # From the root with -I ., so that generated imports come out absolute.
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "."]
    command += [f"--{kind}_out={target}" for kind in ("python", "mypy", "grpc_python", "mypy_grpc")]
    # protoc looks for its plugins on the path; they stand beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    command += map(str, SOURCES)
    subprocess.run(command, cwd=ROOT, env=environment, check=True)  # noqa: S603
    return sorted(path.relative_to(target) for path in target.rglob("*_pb2*.py*"))


def stale() -> list[Path]:
    """Return the committed files that differ from what their .proto generates today."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        return [path for path in fresh if _text(ROOT / path) != _text(Path(folder) / path)]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def main() -> int:
    """Generate in place, or with --check say what is stale and return 1."""
    if "--check" not in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            for path in generate(Path(folder)):
                shutil.copy(Path(folder) / path, ROOT / path)
        return 0
    for path in (old := stale()):
        sys.stderr.write(f"{path} is stale: run `python -m protos.generate`\n")
    return int(bool(old))


if __name__ == "__main__":
    sys.exit(main())
