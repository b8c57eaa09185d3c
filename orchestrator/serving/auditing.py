"""What a node writes down of labelled calls: that they came, were refused, lowered a label."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from orchestrator.core.audit import Accepted, Audit, Declassified, Event, Refused, kept
from orchestrator.core.errors import CallError
from orchestrator.core.labels import label_of
from orchestrator.core.report import ModelReport
from orchestrator.core.stepping import nobody
from orchestrator.serving.stay import Stay


class Loaded(Protocol):
    """Knows the models that a node has loaded."""

    @property
    def reports(self) -> Sequence[ModelReport]:
        """Each model, with the digest of its files."""


class NodeAudit:
    """Writes down what happens to labelled calls on a node, and waits until that is safe.

    Args:
        node: The node's name.
        audit: Takes the events.
        loaded: Knows the models.
    """

    def __init__(self, node: str, audit: Audit, loaded: Loaded) -> None:
        self._node = node
        self._audit = audit
        self._loaded = loaded

    async def accepted(self, stay: Stay, arguments: Mapping[str, Any]) -> None:
        """Write down that a call is about to run."""
        if not self._audit.durable:
            return
        call, models = stay.call, self._models(stay)
        if stay.served.spec.declassifies:
            # Now, since its body may change what it was given; apart, since it may be large.
            self._wait(stay)
            stay.taken = await asyncio.to_thread(self._audit.digest, arguments)
        await self._keep(stay, Accepted(**self._named(stay), attempt=call.attempt, models=models))

    async def refused(self, stay: Stay) -> None:
        """Write down that privacy refused a call, on its way in or out; it fails either way."""
        inside = getattr(stay, "here", None)
        event = Refused(**self._named(stay), rule="result" if inside else "arrival")
        with suppress(CallError):  # what was refused stays so
            await self._keep(stay, event)

    async def declassified(self, stay: Stay, value: object, count: int = 1) -> None:
        """Write down that a declassifier lowered a label, before what it gives goes out.

        Args:
            stay: Its call.
            value: What it gives.
            count: Which of its values, for a stream.
        """
        given = stay.taken
        if self._audit.durable:
            self._wait(stay)
            given = await asyncio.to_thread(self._audit.digest, value)
        event = Declassified(
            **self._named(stay), target=label_of(value), taken=stay.taken, given=given, count=count,
            models=self._models(stay),
        )  # fmt: skip
        await self._keep(stay, event)

    def _named(self, stay: Stay) -> dict[str, Any]:
        call, inside = stay.call, getattr(stay, "here", None)
        label = call.label.join(inside.opened) if inside else call.label
        known = {"service": stay.service} if stay.service else {}
        return {
            "call": call.id, "trace": call.trace, "version": call.version, "node": self._node,
            "label": label, **known,
        }  # fmt: skip

    def _models(self, stay: Stay) -> tuple[tuple[str, str], ...]:
        wanted = {model.name for model in stay.served.spec.models}
        if not wanted:
            return ()
        return tuple((r.name, r.version) for r in self._loaded.reports if r.name in wanted)

    async def _keep(self, stay: Stay, event: Event) -> None:
        if self._audit.durable:
            self._wait(stay)
        await kept(self._audit, event, stay.call.deadline)

    def _wait(self, stay: Stay) -> None:
        """Tell, once, that the call leaves the loop to others."""
        stay.on_wait()
        stay.on_wait = nobody
