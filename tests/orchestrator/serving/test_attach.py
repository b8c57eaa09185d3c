import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import AccessDenied, EndpointUnavailable, SettingsError
from orchestrator.decorators import edge_service
from orchestrator.models.store import ModelStore
from orchestrator.serving import attach
from orchestrator.serving.access.access import Access
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.serving.attach import Attachment, Place
from orchestrator.serving.node import Node, NodeOptions
from orchestrator.testing import FakeRuntime, free_port
from orchestrator.wire.attach import AttachServer
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.attaching import Replaced
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.security import TlsFiles
from policies.facts import Clearance, Level

if TYPE_CHECKING:
    from tests.conftest import Authority

Fast = Callable[[Coroutine[Any, Any, Any]], Any]
Until = Callable[[Callable[[], object]], Awaitable[None]]
NodeWith = Callable[..., AbstractAsyncContextManager[Node]]
SECRET = Clearance(Level.SECRET)


@edge_service
async def nap(length: float) -> str:
    await asyncio.sleep(length)
    return "awake"


@asynccontextmanager
async def hub(address: str) -> AsyncIterator[tuple[AttachedNode, SessionChannel]]:
    """An orchestrator that listens for node-1, and the channel to it."""
    link = AttachedNode("edge-7", "here")
    server = AttachServer(address, None, {"node-1": link})
    await server.start()
    try:
        yield link, SessionChannel("edge-7", SECRET, link=link)
    finally:
        await server.aclose()


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
async def node(node_with: NodeWith) -> AsyncIterator[Node]:
    async with node_with(nap) as node:
        yield node


@pytest.fixture
async def attachment(node: Node, address: str) -> AsyncIterator[Attachment]:
    made = Attachment(node, Place(address), random.Random(3))
    made.start()
    yield made
    await made.stop(0.0)


async def test_a_node_serves_an_orchestrator_again_and_again(
    attachment: Attachment, address: str, until: Until, call_of: Callable[..., Call]
) -> None:
    for _ in range(3):
        async with hub(address) as (link, channel):
            await until(lambda link=link: link.attached)  # type: ignore[misc]
            assert (await channel.send(call_of(nap, length=0.0))).value == "awake"


async def test_calls_inside_finish_when_the_node_ends_and_nothing_is_lost(
    attachment: Attachment, address: str, node: Node, until: Until, call_of: Callable[..., Call]
) -> None:
    async with hub(address) as (link, channel):
        await until(lambda: link.attached)
        calls = [
            asyncio.create_task(channel.send(call_of(nap, length=0.5 + 0.02 * number)))
            for number in range(20)
        ]
        await until(lambda: node.admission.inside == 20)
        await attachment.stop(10.0)
        assert [(await call).value for call in calls] == ["awake"] * 20
        await until(lambda: not link.attached)


async def test_calls_that_take_too_long_are_cut_and_their_callers_hear_so(
    attachment: Attachment, address: str, node: Node, until: Until, call_of: Callable[..., Call]
) -> None:
    async with hub(address) as (link, channel):
        await until(lambda: link.attached)
        call = asyncio.create_task(channel.send(call_of(nap, length=60.0)))
        await until(lambda: node.admission.inside)
        await attachment.stop(0.1)
        with pytest.raises(EndpointUnavailable) as caught:
            await call
        assert caught.value.sent
    assert not node.admission.inside


async def test_the_end_of_the_node_ends_its_attachment(
    attachment: Attachment, address: str, node: Node, until: Until
) -> None:
    async with hub(address) as (link, _):
        await until(lambda: link.attached)
        await node.end_reports()
        await until(lambda: not link.attached)
        await asyncio.sleep(1.0)
        assert not link.attached


async def test_what_runs_for_an_orchestrator_that_goes_away_is_cancelled(
    attachment: Attachment, address: str, node: Node, until: Until, call_of: Callable[..., Call]
) -> None:
    async with hub(address) as (link, channel):
        await until(lambda: link.attached)
        call = asyncio.create_task(channel.send(call_of(nap, length=60.0)))
        await until(lambda: node.admission.inside)
    await until(lambda: not node.admission.inside)
    with pytest.raises(EndpointUnavailable):
        await call


async def test_stopping_is_quick_while_nobody_is_there(attachment: Attachment) -> None:
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1.5):
        await attachment.stop(0.5)


async def test_a_refused_node_says_why_once_and_not_at_every_attempt(
    node: Node, address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_MOST_SECONDS", 0.05)
    node.name = "node-2"
    made = Attachment(node, Place(address), random.Random(3))
    async with hub(address) as (link, _):
        made.start()
        await asyncio.sleep(1.0)
        assert not link.attached
        said = [r for r in caplog.records if "node node-2 is not attached" in r.getMessage()]
        assert len(said) == 1
        assert "no attached node of its settings has that identity" in said[0].getMessage()
        await made.stop(0.0)


class Attempts:
    """What `attached_to` is in a test: every attempt fails, and is written down."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.times: list[float] = []

    @asynccontextmanager
    async def __call__(self, *_: object) -> AsyncIterator[Any]:
        self.times.append(asyncio.get_running_loop().time())
        raise self.failures.pop(0) if self.failures else EndpointUnavailable("nobody there")
        yield


def pauses(
    fast: Fast, monkeypatch: pytest.MonkeyPatch, attempts: Attempts, seed: int = 1
) -> list[float]:
    """Let a node try for two minutes, and return the pauses between its attempts."""
    monkeypatch.setattr(attach, "attached_to", attempts)

    async def work() -> None:
        clock = asyncio.get_running_loop().time
        options = NodeOptions(name="node-1", tier="edge", clearance=SECRET)
        node = Node(options, FakeRuntime("edge"), ModelStore(Path("models")), clock)
        made = Attachment(node, Place("127.0.0.1:1"), random.Random(seed), clock=clock)
        made.start()
        await asyncio.sleep(120)
        await made.stop(0.0)
        await node.aclose()

    fast(work())
    return [later - earlier for earlier, later in itertools.pairwise(attempts.times)]


def test_attempts_come_with_growing_jittered_pauses_of_five_seconds_at_most(
    fast: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = pauses(fast, monkeypatch, Attempts())
    assert waits[0] <= 0.5
    assert waits[1] <= 1.0
    assert max(waits) <= 5.0
    assert 2.0 < sum(waits[5:]) / len(waits[5:]) < 3.0  # full jitter: half of the longest
    assert len({round(wait, 6) for wait in waits}) == len(waits)


def test_nodes_do_not_come_back_all_at_once(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [pauses(fast, monkeypatch, Attempts(), seed)[0] for seed in range(20)]
    assert len({round(wait, 3) for wait in first}) > 15


def test_a_node_whose_place_was_taken_leaves_the_other_one_alone_for_a_minute(
    fast: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = pauses(fast, monkeypatch, Attempts(Replaced("taken")))
    assert waits[0] >= 60.0
    assert max(waits[1:]) <= 5.0


def test_a_failure_of_our_own_is_no_end_of_the_attempts_and_says_nothing_it_should_not(
    fast: Fast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = pauses(fast, monkeypatch, Attempts(LookupError("canary-55aa")))
    assert len(waits) > 10
    assert "node node-1 is not attached: LookupError at" in caplog.text
    assert "canary-55aa" not in caplog.text


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "unix:/run/hub.sock"])
def test_plaintext_on_this_machine_needs_no_word(address: str) -> None:
    Place(address).check()


def test_plaintext_to_another_machine_has_to_be_asked_for_by_name() -> None:
    with pytest.raises(
        SettingsError, match="give --tls-cert, --tls-key and --tls-ca, or say --ins"
    ):
        Place("hub.example:50050").check()
    Place("hub.example:50050", insecure=True).check()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    tls = TlsFiles(cert=tmp_path / "me.pem", key=tmp_path / "me.key")
    with pytest.raises(SettingsError, match=r"me\.\w+ cannot be read"):
        Place("hub.example:50050", tls).check()


def guests(**identities: list[str]) -> Access:
    roles = {"all": {"invoke": ["nap"]}, "none": {}, "silent": {"describe": False}}
    return Access(AccessSettings.model_validate({"roles": roles, "identities": identities}))


@pytest.mark.parametrize(
    ("role", "outcome"), [("all", "awake"), ("none", AccessDenied), ("silent", None), ("", None)]
)
async def test_an_orchestrator_may_do_what_its_identity_may(
    role: str,
    outcome: object,
    node: Node,
    authority: "Authority",
    until: Until,
    call_of: Callable[..., Call],
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = f"localhost:{free_port()}"
    ours, theirs = authority.issue("node-1"), authority.issue("localhost")
    link = AttachedNode("edge-7", "here")
    server = AttachServer(address, theirs, {"node-1": link})
    access = guests(**({"localhost": [role]} if role else {"other.example": ["all"]}))
    made = Attachment(node, Place(address, ours), random.Random(3), access=access)
    await server.start()
    made.start()
    channel = SessionChannel("edge-7", SECRET, link=link)
    try:
        if outcome is None:  # it does not even attach
            await until(lambda: "is not attached: " in caplog.text)
            assert not link.attached
            return
        await until(lambda: link.attached)
        call = channel.send(call_of(nap, length=0.0))
        if outcome is AccessDenied:
            with pytest.raises(AccessDenied, match="no role of the caller may invoke"):
                await call
        else:
            assert (await call).value == outcome
    finally:
        await made.stop(0.0)
        await server.aclose()


async def test_a_node_with_an_access_file_does_not_attach_in_plaintext(
    node: Node, address: str
) -> None:
    made = Attachment(node, Place(address), random.Random(3), access=guests(localhost=["all"]))
    with pytest.raises(SettingsError, match="has to prove who it is: give --tls-cert"):
        made.start()
