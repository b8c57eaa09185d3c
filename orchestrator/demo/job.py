"""The job itself: each message is cleaned, embedded, and matched to a help topic."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.core.errors import CallError, PrivacyRefused
from orchestrator.core.labels import Sensitive
from orchestrator.demo import services
from orchestrator.demo.generate import INBOX, TOPICS
from orchestrator.demo.ledger import Ledger

IN_FLIGHT = 16
"""Messages worked on side by side."""

_ARCHIVE_EVERY = 20


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the inbox; `topic` is what it was written about."""

    id: int
    text: str
    topic: str
    confidential: bool


def read_inbox() -> list[Message]:
    """Return the committed inbox."""
    return [Message(**message) for message in json.loads(INBOX.read_text())["messages"]]


class Job:
    """Sorts messages and keeps the books.

    Args:
        ledger: The books.
        on_done: Is called after each message.
    """

    def __init__(self, ledger: Ledger, on_done: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_done = on_done
        self._names = list(TOPICS)
        self._topics = np.zeros((0, 0), np.float32)
        self._progressed = asyncio.Condition()

    async def learn_topics(self) -> None:
        """Embed the help topics."""
        vectors = [await services.embed(text) for text in TOPICS.values()]
        self._topics = np.stack(vectors)

    async def sort(self, messages: Sequence[Message]) -> None:
        """Sort messages, some side by side; a message that fails is entered as lost."""
        todo = iter(messages)

        async def work() -> None:
            """Take messages until none is left."""
            for message in todo:
                await self._sort_one(message)

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

    async def reached(self, count: int) -> None:
        """Wait until so many messages are done or lost."""
        ledger = self._ledger
        async with self._progressed:
            await self._progressed.wait_for(lambda: ledger.done + len(ledger.lost) >= count)

    async def _sort_one(self, message: Message) -> None:
        ledger = self._ledger
        ledger.submitted += 1
        try:
            if message.id % _ARCHIVE_EVERY == 0:
                await self._try_to_archive(message)
            topic = await (self._confidential if message.confidential else self._plain)(message)
            ledger.sorted_right += topic == message.topic
            ledger.done += 1
        except CallError as error:
            ledger.lost[message.id] = error.code
        self._on_done()
        async with self._progressed:
            self._progressed.notify_all()

    async def _plain(self, message: Message) -> str:
        raw = Sensitive(message.text, "pii")
        cleaned = await services.clean.aio.call(raw)
        self._ledger.note("clean", cleaned)
        self._ledger.masked.update(cleaned.value.masked)
        vector = await services.embed.call(cleaned.value.text)
        self._ledger.note("embed", vector)
        found = await services.match.aio.call(vector.value, self._topics)
        self._ledger.note("match", found)
        return self._names[found.value.topic]

    async def _confidential(self, message: Message) -> str:
        raw = Sensitive(message.text, "pii")
        vector = await services.embed_confidential.call(raw)
        self._ledger.note("embed (confidential)", vector)
        found = await services.match_confidential.aio.call(vector.value, self._topics)
        self._ledger.note("match (confidential)", found)
        return self._names[found.value.topic]

    async def _try_to_archive(self, message: Message) -> None:
        try:
            await services.archive.aio(Sensitive(message.text, "pii"))
        except PrivacyRefused as error:
            self._ledger.note_refusal("archive", error)
