"""Random programs over labelled values: nothing of a value has, or goes, below its label."""

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from benchmarks.proofs import flows
from benchmarks.proofs.fleet import Fleet, running_fleet
from orchestrator.core import request
from orchestrator.core.call import Call, Reply
from orchestrator.core.errors import CallError, EndpointUnavailable, OutcomeUnknown
from orchestrator.core.labels import ENVELOPES, Labelled, label_of, sealed_value
from orchestrator.core.running import Running
from orchestrator.core.stepping import OnWait, nobody
from orchestrator.serving import dataplane
from orchestrator.serving.node import Node
from orchestrator.wire import inprocess
from orchestrator.wire.inprocess import InProcessChannel
from orchestrator.wire.payloads import pack
from policies.facts import PUBLIC, Clearance, Label, Level
from policies.privacy import PrivacyFilter

STEPS = int(os.environ.get("ISTHMUS_LABEL_STEPS", "300"))
A_PROGRAM = 25
"""Steps of one program."""

SMALL = settings(
    max_examples=max(STEPS // A_PROGRAM, 1),
    stateful_step_count=A_PROGRAM,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
CONTROL = settings(
    SMALL, max_examples=60, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False
)
CLEARANCES = {
    "edge": Clearance(Level.SECRET),
    "cloud-1": Clearance(Level.INTERNAL),
    "cloud-2": Clearance(Level.SENSITIVE, frozenset({"pii"})),
    "cloud-3": Clearance(Level.PUBLIC),
}
steps_taken = 0


class Leak(AssertionError):
    """A value has, or came to, a place below its label."""


class Watched:
    """A channel in this process that fails when told to, and shows what comes to its node."""

    def __init__(self, node: Node, clearance: Clearance, machine: "Programs") -> None:
        self._node = node
        self._clearance = clearance
        self._machine = machine
        self._channel = InProcessChannel(self, clearance)
        self.failures: list[CallError] = []
        self.describe, self.watch = self._channel.describe, self._channel.watch
        self.aclose, self.report, self.reports = self._channel.aclose, node.report, node.reports

    async def send(self, call: Call) -> Reply:
        reply = await self._channel.send(call)
        if self.failures:
            raise self.failures.pop()  # the answer is lost on its way
        return reply

    async def handle(self, call: Call, on_wait: OnWait = nobody) -> Reply:
        self._machine.arrives(call, self._clearance)
        return await self._node.handle(call, on_wait)


class Programs(RuleBasedStateMachine):
    """Knows the true label of each value by a mark in it, and looks for marks everywhere."""

    values = Bundle("values")

    def __init__(self) -> None:
        super().__init__()
        self.true: dict[str, Label] = {}
        self.released: set[str] = set()
        self.leaks: list[str] = []
        self.logged: list[str] = []
        self.channels: list[Watched] = []
        self.runner = asyncio.Runner()
        self.running = running_fleet(
            flows.SERVICES, dict.fromkeys(CLEARANCES, self.connect), CLEARANCES
        )
        self.fleet: Fleet = self.runner.run(self.running.__aenter__())
        self.runner.run(self.fleet.renew(1))
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.logged.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger().addHandler(self.handler)

    def connect(self, node: Node, clearance: Clearance) -> Watched:
        # As the settings say, whatever a control has done to the node.
        self.channels.append(Watched(node, CLEARANCES[node.name], self))
        return self.channels[-1]

    def teardown(self) -> None:
        logging.getLogger().removeHandler(self.handler)
        self.runner.run(self.running.__aexit__(None, None, None))
        self.runner.close()
        flows.VAULT.clear()

    # What is looked at.

    def marks(self, text: str) -> Iterator[tuple[str, Label]]:
        """Give the marks in a text that nobody released, with their true labels."""
        for mark in set(re.findall(r"<(?:bit)?\d+>", text)) - self.released:
            yield mark, self.true[mark]

    def arrives(self, call: Call, clearance: Clearance) -> None:
        """Note a leak if a node gets what it is not cleared for."""
        for text, _ in leaves(dict(call.arguments), PUBLIC):
            for mark, label in self.marks(text):
                if not clearance.covers(label):
                    self.leaks.append(f"{mark} of label {label} came to clearance {clearance}")

    def look(self, value: Any) -> Any:
        """Return a value a program has got, unless it shows more than its label says."""
        for text, label in leaves(value, PUBLIC):
            for mark, true in self.marks(text):
                if not label.covers(true):
                    self.leaks.append(f"{mark} of label {true} stands under {label}")
        return value

    def call(self, work: Any) -> Any:
        """Return what a call gives, or its error, if neither shows anything."""
        global steps_taken
        steps_taken += 1
        try:
            value = self.look(self.runner.run(work))
        except CallError as error:
            value = None
            self.logged += [f"{error} {error!r} {vars(error)}"]
        for text in self.logged:
            self.leaks += [f"{mark} stands in {text}" for mark, _ in self.marks(text)]
        self.logged.clear()
        if self.leaks:
            raise Leak(self.leaks[0])
        return value

    # What programs do.

    @initialize()
    def fill_the_vault(self) -> None:
        for number, kind in enumerate((ENVELOPES[Level.SECRET], ENVELOPES[Level.SENSITIVE])):
            mark = f"<{900 + number}>"
            flows.VAULT[number] = kind(f"vault {mark}", "pii")
            # A bit of what is hidden is as private as all of it.
            self.true[mark] = self.true[f"<bit{number}>"] = Label(kind.level, frozenset({"pii"}))

    @rule(
        target=values,
        level=st.sampled_from(list(ENVELOPES)),
        categories=st.frozensets(st.sampled_from(["pii", "phi"])),
    )
    def make(self, level: Level, categories: frozenset[str]) -> Labelled[str]:
        mark = f"<{len(self.true)}>"
        self.true[mark] = Label(level, categories)
        return ENVELOPES[level](f"text {mark}", *categories)

    @rule(target=values, one=values, other=values)
    def put_beside(self, one: Labelled[str], other: Labelled[str]) -> Labelled[str]:
        pair = self.call(flows.both.aio(one, other))
        return one if pair is None else pair.with_value(" ".join(sealed_value(pair)))

    @rule(target=values, value=values)
    def put_lower(self, value: Labelled[str]) -> Labelled[str]:
        parts = self.call(flows.lower.aio(value))
        return parts[0] if parts else value

    @rule(
        target=values,
        value=values,
        service=st.sampled_from([flows.mirror, flows.slip, flows.choke, flows.mask_and_send]),
    )
    def give(self, value: Labelled[str], service: Any) -> Labelled[str]:
        answer = self.call(service.aio(value))
        return value if answer is None else answer

    @rule(value=values, others=st.lists(values, max_size=3))
    def give_many_at_once(self, value: Labelled[str], others: list[Labelled[str]]) -> None:
        async def together() -> list[Any]:
            work = [flows.mirror.aio(one) for one in (value, *others)]
            found = await asyncio.gather(*work, flows.upload.aio("nothing"), return_exceptions=True)
            # It runs beside labelled calls, and stays public.
            assert found[-1] == "nothing" or isinstance(
                found[-1], EndpointUnavailable | OutcomeUnknown
            )
            return [one for one in found if not isinstance(one, BaseException)]

        self.call(together())

    @rule(value=values)
    def run_anywhere(self, value: Labelled[str]) -> None:
        texts = value.with_value([sealed_value(value)])
        self.call(flows.anywhere.aio(texts))

    @rule(which=st.integers(0, len(CLEARANCES) - 1), sent=st.booleans(), count=st.integers(1, 3))
    def lose_answers(self, which: int, sent: bool, count: int) -> None:
        self.channels[which].failures = [
            EndpointUnavailable("gone", sent=sent) for _ in range(count)
        ]

    @rule()
    def mend(self) -> None:
        self.channels.clear()
        self.runner.run(self.fleet.renew(2))

    @rule(
        number=st.integers(0, 1),
        service=st.sampled_from(
            [
                flows.look_up,
                flows.tell,
                flows.ask_and_tell,
                flows.slip_later,
                flows.slip_by_error,
                flows.mask_all_and_send,
            ]
        ),
    )
    def look_up(self, number: int, service: Any) -> None:
        self.call(service.aio(number))

    @rule(number=st.integers(0, 1), read=st.integers(0, 3))
    def read_a_stream(self, number: int, read: int) -> None:
        async def some() -> list[Any]:
            stream, found = flows.late.aio(number), []
            try:
                async for chunk in stream:
                    found.append(chunk)
                    if len(found) > read:
                        break
            finally:
                await stream.aclose()
            return found

        self.call(some())

    @rule(value=values)
    def release(self, value: Labelled[str]) -> None:
        before = self.declassified("release")
        marks = {mark for mark, _ in self.marks(sealed_value(value))}
        self.released |= marks
        service: Any = flows.release  # which takes less than any label, and must refuse the rest
        if self.call(service.aio(value)) is None:
            self.released -= marks
        elif label_of(value).level > Level.SENSITIVE:
            raise Leak("a declassifier of sensitive values took a secret one")
        elif self.declassified("release") == before:
            raise Leak("a declassifier was not written down")

    @rule(value=values, number=st.integers(0, 1))
    def release_another(self, value: Labelled[str], number: int) -> None:
        if number == 0:  # the other one is sensitive, and so within what it is trusted with
            service: Any = flows.release_another
            self.call(service.aio(value, number))

    def declassified(self, name: str) -> int:
        return sum(node.metrics.declassified[name] for node in self.fleet.nodes.values())


def leaves(value: Any, label: Label) -> Iterator[tuple[str, Label]]:
    """Give the texts in a value, each with the join of the labels around it."""
    if isinstance(value, Labelled):
        yield from leaves(sealed_value(value), label.join(value.label))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(key, label)
            yield from leaves(part, label)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, label)
    elif isinstance(value, str):
        yield value, label


def test_nothing_has_or_goes_below_its_label() -> None:
    before = steps_taken
    run_state_machine_as_test(Programs, settings=SMALL)
    assert steps_taken > before


def _no_floor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Running, "raised_floor", PUBLIC)


def _no_join(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dataplane, "raised_to", lambda value, label: value)
    patch.setattr(request, "raised_to", lambda value, label: value)


def _decision_and_node_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PrivacyFilter, "refuse", lambda self, call, endpoint: None)
    everything = Clearance(Level.SECRET)
    started = Node.start

    async def open_to_all(self: Node, *args: Any) -> None:
        await started(self, *args)
        self.clearance = everything

    patch.setattr(Node, "start", open_to_all)


def _guard_off(patch: pytest.MonkeyPatch) -> None:
    def let_all_out(call: Call, *rest: Any) -> Any:
        return call.packed or pack(call.arguments)

    patch.setattr(inprocess, "let_out", let_all_out)


def _all_checks_off(patch: pytest.MonkeyPatch) -> None:
    _decision_and_node_off(patch)
    _guard_off(patch)


def test_the_guard_alone_keeps_everything_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _decision_and_node_off(monkeypatch)
    run_state_machine_as_test(Programs, settings=settings(SMALL, max_examples=6))
    assert PrivacyFilter().refuse(None, None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("switch_off", [_no_floor, _no_join, _all_checks_off])
def test_the_programs_find_what_is_switched_off(
    switch_off: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_off(monkeypatch)
    with pytest.raises(Leak):
        run_state_machine_as_test(Programs, settings=CONTROL)
