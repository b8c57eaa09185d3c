import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.core.audit import Audit
from orchestrator.core.call import Call
from orchestrator.core.errors import AuditUnavailable, PrivacyRefused, ServiceFailed
from orchestrator.core.labels import Secret, Sensitive
from orchestrator.core.model import TensorSpec
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.models.tensor import TensorModel
from orchestrator.serving.node import Node
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from orchestrator.testing import fake_model
from policies.facts import Clearance, Label, Level

MakeCall = Callable[..., Call]
SENSITIVE, SECRET = Label(Level.SENSITIVE), Label(Level.SECRET, frozenset({"pii"}))
CANARY = "canary-e55b"
ran: list[str] = []
waited: list[str] = []

doubling = TensorModel("doubling")


@edge_service(declassifies=True)
async def redact(text: Secret[str]) -> str:
    ran.append("redact")
    return text.value[:3]


@edge_service(declassifies=True)
def words_of(text: Secret[str]) -> Iterator[str]:
    yield from text.value.split()


@edge_service(declassifies=True)
async def emptied(texts: list[Secret[str]]) -> int:
    count = len(texts)
    texts.clear()
    return count


@edge_service
async def shout(text: Secret[str]) -> Secret[str]:
    ran.append("shout")
    return text.with_value(text.value.upper())


@edge_service
async def told_why(text: Secret[str]) -> Secret[str]:
    return Secret(text.reveal("a test"), "pii")


@edge_service
async def fails(text: Secret[str]) -> Secret[str]:
    raise ValueError(text.value)


@edge_service(inline=True)
def spill() -> str:
    return hidden.value


@edge_service(models=[doubling])
async def doubled(x: Secret[np.ndarray]) -> Secret[np.ndarray]:
    return x.with_value((await doubling.aio({"x": x.value}))["y"])


@cloud_service
async def plain(text: str) -> str:
    ran.append("plain")
    return text


hidden = Secret(CANARY, "pii")
ALL = (redact, words_of, emptied, shout, told_why, fails, spill)


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()
    waited.clear()


@pytest.fixture
def place(tmp_path: Path) -> AuditPlace:
    return AuditPlace(tmp_path / "audit.log")


@pytest.fixture
def log(place: AuditPlace) -> Iterator[Audit]:
    with open_audit(place) as log:
        yield log


def entries(place: AuditPlace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.path.read_text().splitlines()]


def kinds(place: AuditPlace) -> list[str]:
    return [entry["kind"] for entry in entries(place)]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    sync, state = os.fsync, {"full": False}

    def fsync(descriptor: int) -> None:
        if state["full"]:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    def turn(full: bool) -> None:
        state["full"] = full

    return turn


async def test_a_labelled_call_is_written_down_when_it_comes(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    async with node_with(*ALL, audit=log) as node:
        call = call_of(shout, SECRET, text=Secret(CANARY, "pii"))
        await node.handle(call, lambda: waited.append("once"))
    [entry] = entries(place)
    assert (entry["kind"], entry["call"], entry["node"]) == ("accepted", call.id, "node-1")
    assert (entry["service"], entry["version"]) == ("shout", shout.spec.version)
    assert entry["label"] == {"level": "secret", "categories": ["pii"]}
    assert waited == ["once"]
    assert CANARY not in place.path.read_text().casefold()


async def test_it_names_the_models_by_their_digest(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit, tmp_path: Path
) -> None:
    fake_model(
        tmp_path, "doubling", [TensorSpec("x", "float32", ("batch",))],
        [TensorSpec("y", "float32", ("batch",))],
    )  # fmt: skip
    models = {"doubling": lambda batch, stop: {"y": batch["x"] * 2}}
    async with node_with(doubled, models=models, audit=log) as node:
        x = Secret(np.ones(2, np.float32))
        await node.handle(call_of(doubled, Label(Level.SECRET), x=x))
        [report] = node.pool.reports
    assert entries(place)[0]["models"] == [["doubling", report.version]]


async def test_a_public_call_leaves_nothing_and_does_not_wait(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    async with node_with(plain, tier="cloud", audit=log) as node:
        reply = await node.handle(call_of(plain, text="x"), lambda: waited.append("once"))
    assert (reply.value, waited, entries(place)) == ("x", [], [])


async def test_a_lowered_label_is_written_down_with_what_went_in_and_out(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    async with node_with(*ALL, audit=log) as node:
        await node.handle(call_of(redact, SECRET, text=Secret(CANARY, "pii")))
    accepted, entry = entries(place)
    assert (accepted["kind"], entry["kind"]) == ("accepted", "declassified")
    assert entry["label"] == {"level": "secret", "categories": ["pii"]}
    assert (entry["target"], entry["count"]) == ({"level": "public"}, 1)
    assert entry["taken"] == log.digest({"text": Secret(CANARY, "pii")}).hex
    assert entry["given"] == log.digest("can").hex


async def test_what_a_declassifier_was_given_counts_as_it_came(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    given = [Secret("a"), Secret("b")]
    async with node_with(*ALL, audit=log) as node:
        await node.handle(call_of(emptied, SECRET, texts=list(given)))
    assert entries(place)[1]["taken"] == log.digest({"texts": given}).hex


async def test_each_value_of_a_stream_counts(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    safe: list[int] = []
    async with node_with(*ALL, audit=log) as node:
        reply = await node.handle(call_of(words_of, SECRET, text=Secret("a b c", "pii")))
        async for _ in reply.value:
            safe.append(kinds(place).count("declassified"))
    assert safe == [1, 2, 3]
    assert [entry.get("count") for entry in entries(place)] == [None, 1, 2, 3]


async def test_a_reveal_inside_a_body_is_safe_before_the_value_is_there(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    async with node_with(*ALL, audit=log) as node:
        await node.handle(call_of(told_why, SECRET, text=Secret(CANARY, "pii")))
    entry = entries(place)[1]
    assert (entry["kind"], entry["reason"], entry["node"]) == ("revealed", "a test", "node-1")
    assert entry["digest"] == log.digest(CANARY).hex


@pytest.mark.parametrize("service", [shout, words_of])
async def test_a_call_that_is_refused_on_arrival_is_written_down(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit, service: Any
) -> None:
    async with node_with(*ALL, audit=log, clearance=Clearance(Level.INTERNAL)) as node:
        with pytest.raises(PrivacyRefused):
            await through(node, call_of(service, SECRET, text=Secret(CANARY, "pii")))
    [entry] = entries(place)
    assert (entry["kind"], entry["rule"], entry["service"]) == (
        "refused", "arrival", service.spec.name,
    )  # fmt: skip


async def test_a_result_that_is_refused_is_written_down_with_what_was_opened(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    async with node_with(*ALL, audit=log) as node:
        with pytest.raises(PrivacyRefused):
            await node.handle(call_of(spill))
    [entry] = entries(place)
    assert (entry["kind"], entry["rule"]) == ("refused", "result")
    assert entry["label"] == {"level": "secret", "categories": ["pii"]}


async def test_the_words_of_an_exception_go_nowhere(
    node_with: Any, call_of: MakeCall, place: AuditPlace, log: Audit
) -> None:
    async with node_with(*ALL, audit=log) as node:
        with pytest.raises(ServiceFailed):
            await node.handle(call_of(fails, SECRET, text=Secret(CANARY, "pii")))
    assert kinds(place) == ["accepted"]
    assert CANARY not in place.path.read_text()
    assert CANARY in str(hidden.reveal("the control: this is what must not be there"))


@pytest.mark.parametrize("service", [shout, words_of])
async def test_with_a_full_disk_labelled_calls_are_refused_and_others_go_on(
    node_with: Any,
    call_of: MakeCall,
    log: Audit,
    full_disk: Callable[[bool], None],
    service: Any,
) -> None:
    async with node_with(*ALL, plain_on_the_edge, audit=log) as node:
        call = call_of(service, SECRET, text=Secret(CANARY, "pii"))
        full_disk(True)
        with pytest.raises(AuditUnavailable) as refused:
            await through(node, call)
        assert (ran, refused.value.node, refused.value.call_id) == ([], "node-1", call.id)
        assert CANARY not in str(refused.value)
        assert (await node.handle(call_of(plain_on_the_edge, text="x"))).value == "x"
        full_disk(False)
        await through(node, call_of(service, SECRET, text=Secret("x", "pii")))


async def test_what_a_declassifier_gives_stays_inside_if_that_cannot_be_written_down(
    node_with: Any, call_of: MakeCall, log: Audit, full_disk: Callable[[bool], None]
) -> None:
    async with node_with(filling, audit=log) as node:
        filling_disk.append(full_disk)
        with pytest.raises(AuditUnavailable):
            await node.handle(call_of(filling, SECRET, text=Secret(CANARY, "pii")))
        filling_disk.clear()
        full_disk(False)
        reply = await node.handle(call_of(filling, SECRET, text=Secret(CANARY, "pii")))
        assert reply.value == "ok"  # the control


async def test_without_a_log_all_is_as_ever(node_with: Any, call_of: MakeCall) -> None:
    async with node_with(*ALL) as node:
        call = call_of(shout, SENSITIVE, text=Sensitive("x"))
        reply = await node.handle(call, lambda: waited.append("once"))
    assert (reply.value.reveal("test"), waited) == ("X", [])


filling_disk: list[Callable[[bool], None]] = []


@edge_service(declassifies=True)
async def filling(text: Secret[str]) -> str:
    for fill in filling_disk:
        fill(True)
    return "ok"


@edge_service
async def plain_on_the_edge(text: str) -> str:
    return text


async def through(node: Node, call: Call) -> Any:
    """Run a call; of a stream, take all of its values."""
    reply = await node.handle(call)
    return [value async for value in reply.value] if call.stream else reply.value
