"""An app that names its orchestrator, so that bodies on one node call services of another."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator

from orchestrator import Orchestrator, Sensitive, cloud_service, edge_service
from orchestrator.core.errors import CallError

headquarters = Orchestrator("isthmus.yaml")


@cloud_service
async def keep(text: str) -> int:
    """Says which process has the text now."""
    return os.getpid()


@edge_service
async def ask(text: str) -> int:
    return await keep(text)


@edge_service
def ask_in_a_thread(text: str) -> int:
    return keep.sync(text)


@edge_service
async def ask_here(text: str) -> int:
    """Calls a service of its own tier."""
    return await count(text)


@edge_service
async def count(text: str) -> int:
    return len(text)


@edge_service
async def slip(text: Sensitive[str]) -> Sensitive[int]:
    """Opens a labelled value and tries to send it to the cloud as plain text."""
    return text.with_value(await keep(text.value))


@edge_service
def slip_in_a_thread(text: Sensitive[str]) -> Sensitive[int]:
    return text.with_value(keep.sync(text.value))


@edge_service
async def slip_in_a_task(text: Sensitive[str]) -> Sensitive[int]:
    return text.with_value(await asyncio.create_task(keep(text.value)))


@edge_service
async def slip_by_to_thread(text: Sensitive[str]) -> Sensitive[int]:
    return text.with_value(await asyncio.to_thread(keep.sync, text.value))


@edge_service
async def slip_by_an_executor(text: Sensitive[str]) -> Sensitive[int]:
    """The executor's thread knows nothing of the body."""
    loop = asyncio.get_running_loop()
    return text.with_value(await loop.run_in_executor(None, keep.sync, text.value))


@edge_service
async def slip_in_a_stream(text: Sensitive[str]) -> AsyncIterator[Sensitive[int]]:
    yield text.with_value(0)
    yield text.with_value(await keep(text.value))


@edge_service
def slip_in_a_blocking_stream(text: Sensitive[str]) -> Iterator[Sensitive[int]]:
    yield text.with_value(0)
    yield text.with_value(keep.sync(text.value))


@edge_service
def slip_by_a_thread_of_its_own(text: Sensitive[str]) -> Sensitive[str]:
    """Tries it where the context is lost; says how that ended."""
    ends: list[str] = []

    def send() -> None:
        try:
            ends.append(f"sent to {keep.sync(text.value)}")
        except CallError as error:
            ends.append(type(error).__name__)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    return text.with_value(ends[0])


@edge_service(declassifies=True)
async def clean(text: Sensitive[str]) -> int:
    """Sends on only what it has cleaned."""
    return await keep("*" * len(text.value))


@edge_service
async def ask_slowly(text: str) -> int:
    """Waits for a nested call with less time than that takes."""
    return await nap.options(deadline="60s")(text)


@cloud_service
async def nap(text: str) -> int:
    await asyncio.sleep(20)
    return 0
