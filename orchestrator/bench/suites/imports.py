"""What it takes to begin: imports in a fresh interpreter, and the cold start of a node."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from orchestrator.bench.cold import cold_start, quantised_store
from orchestrator.bench.parties import Opening
from orchestrator.bench.suites.suite import Base, Column, Options, Suite
from orchestrator.bench.turns import CannotRunError, Case, Figures, Prepared, Way
from orchestrator.bench.usage import family, private_mb

BASE = "grpc + numpy + pydantic + onnxruntime"
STATEMENTS = {
    BASE: "import grpc, numpy, pydantic, onnxruntime",
    "import orchestrator": "import orchestrator",
    "every name of the face": "from orchestrator import *",
    "the face and the edge runtime": (
        "from orchestrator import *; import edge_node.runtime, onnxruntime"
    ),
    "an edge node before it starts": (
        "import edge_node.__main__, edge_node.runtime, orchestrator.serving.cli, onnxruntime"
    ),
}
FULL, QUANTISED = "edge-node, MiniLM FP32", "edge-node, MiniLM INT8"

_TIMER = """
import time; began = time.perf_counter(); {}; took = time.perf_counter() - began
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(took * 1e3, sum(int(l.split()[1]) for l in lines if l.startswith("Private_")) * 1024 / 1e6)
"""


@asynccontextmanager
async def open_suite(options: Options) -> AsyncIterator[Prepared]:
    """Make the quantised model; everything else starts anew in each turn."""
    absent: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-bench-")))
        options.say("quantising the model")
        starts: dict[str, Callable[[], Awaitable[Figures]]] = {
            FULL: partial(cold_start, options.store, "full"),
            QUANTISED: partial(cold_start, folder, "int8"),
        }
        try:
            await asyncio.to_thread(quantised_store, options.store, folder)
        except CannotRunError as error:
            absent[QUANTISED] = str(error)
        imports = {name: (sys.executable, text) for name, text in STATEMENTS.items()}
        for peer in options.peers:
            imports |= {f"import {peer.package}": (str(peer.python), f"import {peer.package}")}
            starts |= {name: partial(_peer_start, opening) for name, opening in peer.embeddings[:1]}
        cases = [
            Case("import", [Way(n, partial(_import, *found)) for n, found in imports.items()]),
            Case("cold start", [Way(n, partial(_start, found)) for n, found in starts.items()]),
        ]
        yield Prepared(cases, absent)


async def _import(python: str, statement: str, seconds: float) -> tuple[Figures, int]:
    """Time a statement in a fresh interpreter.

    Raises:
        CannotRunError: It fails there.
    """
    command = [python, "-c", _TIMER.format(statement)]
    with tempfile.TemporaryDirectory() as empty:  # nothing lies beside it that it could import
        found = await asyncio.to_thread(
            partial(subprocess.run, command, capture_output=True, text=True, cwd=empty, check=False)
        )
    if found.returncode:
        raise CannotRunError((found.stderr.strip().splitlines() or ["it said nothing"])[-1])
    took, memory = map(float, found.stdout.split()[-2:])
    return {"ms": took, "private_mb": memory}, 1


async def _start(start: Callable[[], Awaitable[Figures]], seconds: float) -> tuple[Figures, int]:
    return await start(), 1


async def _peer_start(opening: Opening) -> Figures:
    began = time.perf_counter()
    async with opening() as party:
        took = time.perf_counter() - began
        pids = family([party.server.pid]) if party.server else frozenset[int]()
        return {"ms": took * 1e3, "private_mb": await asyncio.to_thread(private_mb, pids)}


SUITE = Suite(
    name="imports",
    title="What it takes to begin",
    about=(
        "Each statement runs in a fresh interpreter, each node or server is started anew, in every "
        "round; the file cache is warm. Memory is what ending the processes would free. A cold "
        "start lasts from the command line until the node, with MiniLM loaded and warm, is ready; "
        "what a node has learned of the model at an earlier start lies in its store."
    ),
    bases=(Base("base", [BASE]), Base("FP32", [FULL])),
    columns=(
        Column("ms", "ms", compared=True),
        Column("private_mb", "MB", 1, compared=True),
    ),
    plotted="ms",
    open=open_suite,
)
