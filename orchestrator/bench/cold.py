"""Cold starts: from a command line to a node that answers, and what it takes in memory."""

import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.bench.embedding import MODEL
from orchestrator.bench.library import EMBEDDING
from orchestrator.bench.processes import free_port, running
from orchestrator.bench.turns import CannotRunError, Figures
from orchestrator.bench.usage import family, private_mb
from orchestrator.core.errors import EndpointUnavailable
from orchestrator.models.manifest import ONNX, TensorEntry
from orchestrator.models.store import ModelStore, write_manifest
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Level


def quantised_store(store: Path, target: Path) -> None:
    """Make a store whose MiniLM has its weights in 8 bits at the edge.

    Args:
        store: A store with MiniLM in it.
        target: An empty folder.

    Raises:
        CannotRunError: What quantises is not installed.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise CannotRunError(f"pip install 'isthmus[edge,export]': {error}") from error
    model = ModelStore(store).open(MODEL)
    with ModelStore(target).adding(MODEL) as folder:
        shutil.copytree(model.path, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        graph = folder / ONNX
        quantize_dynamic(model.file(ONNX), graph, weight_type=QuantType.QInt8)
        inputs, outputs = map(TensorEntry.of, model.inputs), map(TensorEntry.of, model.outputs)
        options = dict(model.options)
        write_manifest(folder, model.manifest.kind, list(inputs), list(outputs), options)


async def cold_start(store: Path, flags: Sequence[str] = ()) -> Figures:
    """Start an edge node with MiniLM and wait until it is ready for calls."""
    port = free_port()
    command = [sys.executable, "-m", "edge_node", "--app", EMBEDDING, "--port", str(port)]
    command += ["--models", str(store), *flags]
    channel = UnaryChannel(f"127.0.0.1:{port}", Clearance(Level.PUBLIC))

    async def ready() -> bool:
        try:
            return (await channel.describe()).state == "ready"
        except EndpointUnavailable:
            return False

    began = time.perf_counter()
    try:
        async with running(command, ready, poll=0.005) as server:
            seconds = time.perf_counter() - began
            memory = await asyncio.to_thread(private_mb, family([server.pid]))
    finally:
        await channel.aclose()
    return {"ms": seconds * 1e3, "private_mb": memory}
