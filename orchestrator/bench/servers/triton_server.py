"""Triton, as the wheel of nvidia-pytriton brings it: its server, and its Python backend.

The wheel has no backend for ONNX Runtime, so Triton runs it inside its Python backend.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytriton
from shared import MAX_BATCH, MAX_WAIT_SECONDS, arguments

HERE = Path(__file__).parent

_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: {batch}
input [ {{ name: "input" data_type: {dtype} dims: [ -1 ] {ragged} }} ]
output [ {{ name: "output" data_type: {answer} dims: [ -1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: {count} }} ]
parameters {{ key: "folder" value: {{ string_value: "{folder}" }} }}
parameters {{ key: "threads" value: {{ string_value: "{threads}" }} }}
{batching}
"""

_BATCHING = "dynamic_batching {{ max_queue_delay_microseconds: {wait} }}"


def repository(root: Path) -> Path:
    given = arguments()
    if given.model is None:
        plain = {"batch": 0, "ragged": "", "count": 1, "folder": "", "threads": 1, "batching": ""}
        write(root, name="echo", dtype="TYPE_UINT8", answer="TYPE_UINT8", **plain)
        write(root, name="tensor", dtype="TYPE_FP32", answer="TYPE_FP32", **plain)
        return root
    batched = given.batching == "on"
    write(
        root,
        name="embed",
        dtype="TYPE_UINT8",
        answer="TYPE_FP32",
        batch=MAX_BATCH if batched else 1,
        ragged="allow_ragged_batch: true" if batched else "",
        count=1 if batched else 2,
        folder=given.model,
        threads=len(os.sched_getaffinity(0)) if batched else 1,
        batching=_BATCHING.format(wait=int(MAX_WAIT_SECONDS * 1e6)) if batched else "",
    )
    return root


def write(root: Path, name: str, **values: object) -> None:
    version = root / name / "1"
    version.mkdir(parents=True)
    shutil.copy(HERE / "triton_model.py", version / "model.py")
    shutil.copy(HERE / "shared.py", version)
    (root / name / "config.pbtxt").write_text(_CONFIG.format(name=name, **values))


def backends(root: Path) -> Path:
    """Copy the Python backend with the stub for this Python beside it, where it finds its own."""
    server = Path(pytriton.__file__).parent / "tritonserver"
    shutil.copytree(server / "backends", root)
    number = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / number / "triton_python_backend_stub"
    shutil.copy(stub, root / "python" / stub.name)
    return root


def main(folder: str) -> int:
    root, port = Path(folder), arguments().port
    server = Path(pytriton.__file__).parent / "tritonserver"
    libraries = Path(sysconfig.get_paths()["purelib"]) / "nvidia_pytriton.libs"
    paths = [str(server / "external_libs"), str(libraries), os.environ.get("LD_LIBRARY_PATH", "")]
    # The backend's own interpreter finds its packages by the first Python on the path alone.
    programs = [sysconfig.get_paths()["scripts"], os.environ["PATH"]]
    env = {"LD_LIBRARY_PATH": ":".join(filter(None, paths)), "PATH": ":".join(programs)}
    command = [str(server / "bin" / "tritonserver")]
    command += [f"--model-repository={repository(root / 'models')}"]
    command += [f"--backend-directory={backends(root / 'backends')}"]
    command += ["--allow-http=false", "--allow-metrics=false", "--grpc-address=127.0.0.1"]
    command += [f"--grpc-port={port}", "--log-info=false"]
    return subprocess.call(command, env={**os.environ, **env})  # noqa: S603


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(folder))
