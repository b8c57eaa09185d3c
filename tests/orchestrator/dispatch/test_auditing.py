import asyncio
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.audit import Audit, Digest, Event
from orchestrator.core.call import Call
from orchestrator.core.errors import (
    AuditUnavailable,
    DeadlineExceeded,
    EndpointUnavailable,
    PrivacyRefused,
)
from orchestrator.core.labels import Sensitive
from orchestrator.routing.endpoint import Endpoint
from orchestrator.telemetry.audit.log import AuditPlace, open_audit
from policies.facts import Clearance, Label, Level

MakeFleet = Callable[..., Any]
MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]

SENSITIVE = Label(Level.SENSITIVE, frozenset({"pii"}))
INTERNAL_ONLY = Clearance(Level.INTERNAL)
CANARY = "canary-90ce"


@pytest.fixture
def place(tmp_path: Path) -> AuditPlace:
    return AuditPlace(tmp_path / "audit.log")


@pytest.fixture
def log(place: AuditPlace) -> Iterator[Audit]:
    with open_audit(place) as log:
        yield log


def entries(place: AuditPlace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.path.read_text().splitlines()]


class Never:
    """An audit that keeps nothing in time."""

    durable = True

    def record(self, event: Event) -> Future[None]:
        return Future()

    def record_here(self, event: Event) -> "asyncio.Future[None]":
        return asyncio.wrap_future(self.record(event))

    def digest(self, value: object) -> Digest:
        return Digest()

    def metrics(self) -> Iterator[Any]:
        yield from ()


async def test_every_attempt_is_written_down_before_it_is_sent(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    make_call: MakeCall,
    place: AuditPlace,
    log: Audit,
) -> None:
    seen: list[list[tuple[int, str]]] = []

    async def fails(call: Call) -> None:
        seen.append([(entry["attempt"], entry["node"]) for entry in entries(place)])
        raise EndpointUnavailable("no connection")

    fleet = make_fleet(
        make_endpoint("a", "edge", fails, cost=1.0),
        make_endpoint("b", "edge", fails, cost=2.0),
        make_endpoint("c", "edge", "well", cost=3.0),
        make_endpoint("x", "cloud", clearance=INTERNAL_ONLY),
        audit=log,
    )
    await fleet.dispatcher.invoke(make_call(SENSITIVE, text=Sensitive(CANARY, "pii")))
    assert seen == [[(1, "a")], [(1, "a"), (2, "b")]]
    found = entries(place)
    assert [(entry["attempt"], entry["node"]) for entry in found] == [(1, "a"), (2, "b"), (3, "c")]
    assert found[0] | {"hash": "", "previous": "", "time": ""} == {
        "seq": 1, "time": "", "kind": "decision", "call": "0123456789abcdef", "trace": "0" * 32,
        "service": "echo", "version": "v1", "node": "a", "attempt": 1,
        "label": {"level": "sensitive", "categories": ["pii"]},
        "candidates": ["a", "b", "c"], "refused": [["x", "privacy"]], "previous": "", "hash": "",
    }  # fmt: skip
    assert CANARY not in place.path.read_text()


async def test_a_public_call_leaves_nothing(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    make_call: MakeCall,
    place: AuditPlace,
    log: Audit,
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", "well"), audit=log)
    await fleet.dispatcher.invoke(make_call())
    assert entries(place) == []


async def test_what_privacy_refused_is_written_down(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    make_call: MakeCall,
    place: AuditPlace,
    log: Audit,
) -> None:
    fleet = make_fleet(make_endpoint("x", "cloud", clearance=INTERNAL_ONLY), audit=log)
    with pytest.raises(PrivacyRefused):
        await fleet.dispatcher.invoke(make_call(SENSITIVE))
    refusing = make_fleet(make_endpoint("n", "edge", PrivacyRefused("no")), audit=log)
    with pytest.raises(PrivacyRefused):
        await refusing.dispatcher.invoke(make_call(SENSITIVE))
    told = [(e["kind"], e.get("rule"), e.get("node"), e.get("refused")) for e in entries(place)]
    assert told == [
        ("refused", "privacy", None, [["x", "privacy"]]),
        ("decision", None, "n", None),
        ("refused", "node", "n", None),
    ]


async def test_a_labelled_call_that_cannot_be_written_down_is_not_sent_and_a_public_one_is(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    make_call: MakeCall,
    log: Audit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", "one", "two", "three"), audit=log)
    with monkeypatch.context() as patched:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(os, "fsync", full)
        with pytest.raises(AuditUnavailable) as refused:
            await fleet.dispatcher.invoke(make_call(SENSITIVE))
        assert str(refused.value) == AuditUnavailable.public
        assert fleet.sent == []
        assert (await fleet.dispatcher.invoke(make_call())).value == "one"
    assert (await fleet.dispatcher.invoke(make_call(SENSITIVE))).value == "two"


async def test_without_the_audit_it_would_have_been_sent(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", "one"))
    assert (await fleet.dispatcher.invoke(make_call(SENSITIVE))).value == "one"


async def test_a_call_waits_for_the_log_no_longer_than_its_deadline(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> None:
    fleet = make_fleet(make_endpoint("a", "edge", "one"), audit=Never())
    with pytest.raises(DeadlineExceeded):
        await fleet.dispatcher.invoke(make_call(SENSITIVE, seconds=0.05))
    assert fleet.sent == []
