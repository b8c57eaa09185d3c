"""Cold starts: from a command line to a node that answers, and what it takes in memory."""

import asyncio
import shutil
import sys
import time
from pathlib import Path

from orchestrator.bench.embedding import MODEL
from orchestrator.bench.library import EMBEDDING
from orchestrator.bench.processes import running
from orchestrator.bench.turns import CannotRunError, Figures
from orchestrator.bench.usage import family, private_mb
from orchestrator.core.errors import EndpointUnavailable, ModelUnavailable, UsageError
from orchestrator.core.ports import free_port
from orchestrator.models.quantise import quantise
from orchestrator.models.store import ModelStore
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Level


def quantised_store(store: Path, target: Path) -> None:
    """Make a store whose MiniLM has an INT8 graph, too.

    Args:
        store: A store with MiniLM in it.
        target: An empty folder.

    Raises:
        CannotRunError: It cannot be quantised here.
    """
    shutil.copytree(ModelStore(store).open(MODEL).path, target / MODEL)
    try:
        quantise(ModelStore(target), MODEL, progress=lambda _: None)
    except (ModelUnavailable, UsageError) as error:
        raise CannotRunError(str(error)) from error


async def cold_start(store: Path, graph: str) -> Figures:
    """Start an edge node with MiniLM and wait until it is ready for calls.

    Args:
        store: Its model store.
        graph: The precision of the graph it runs.

    Raises:
        CannotRunError: It did not become ready.
    """
    port = free_port()
    command = [sys.executable, "-m", "edge_node", "--app", EMBEDDING, "--port", str(port)]
    command += ["--models", str(store), "--graph", graph]
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
