"""Rights and limits where they count: at a node that listens, over every kind of RPC."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    AccessDenied,
    CallError,
    EndpointUnavailable,
    Overloaded,
    PrivacyRefused,
)
from orchestrator.core.labels import Internal, Secret, Sensitive
from orchestrator.decorators import edge_service
from orchestrator.serving.access.access import Access
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.serving.node import Node
from orchestrator.serving.server import Binding, Server
from orchestrator.testing import running_node
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.security import TlsFiles, client_credentials
from orchestrator.wire.unary import UnaryChannel
from policies.facts import Clearance, Label, Level

if TYPE_CHECKING:
    from tests.conftest import Authority
    from tests.orchestrator.serving.access.conftest import Issuer

SECRET = Clearance(Level.SECRET)
INTERNAL, SENSITIVE = Label(Level.INTERNAL), Label(Level.SENSITIVE)
KINDS = [SessionChannel, UnaryChannel]
ROLES: dict[str, Any] = {
    "inbox": {"invoke": ["embed*", "count", "nap"]},
    "silent": {"invoke": ["embed"], "describe": False},
    "slow": {"invoke": ["*"], "calls_per_second": 0.001, "burst": 2},
    "narrow": {"invoke": ["*"], "concurrency": 1},
    "cloud": {"invoke": ["*"], "clearance": "internal"},
}
IDENTITIES = {
    "app.example": ["inbox"],
    "spiffe://prod.example/app": ["inbox"],
    "silent.example": ["silent"],
    "slow.example": ["slow"],
    "narrow.example": ["narrow"],
    "cloud.example": ["cloud"],
    "alice": ["inbox"],
}

Calls = Callable[..., Call]


@edge_service
async def embed(text: str) -> str:
    return text.upper()


@edge_service
async def forget() -> str:
    return "gone"


@edge_service
async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


@edge_service
async def wipe() -> AsyncIterator[int]:
    yield 1


@edge_service
async def same(text: Sensitive[str]) -> Sensitive[str]:
    return text


@edge_service
async def each(texts: list[Secret[str]]) -> AsyncIterator[Secret[str]]:
    for text in texts:
        yield text


@edge_service
async def nap(length: float) -> str:
    await asyncio.sleep(length)
    return "awake"


SERVICES = (embed, forget, count, wipe, nap, same, each)


class Place:
    """A node that listens with an access file, and the callers that come to it."""

    def __init__(self, node: Node, address: str, authority: "Authority") -> None:
        self.node = node
        self._address = address
        self._authority = authority

    @asynccontextmanager
    async def caller(
        self, kind: Any, *names: str, token: str = "", tls: TlsFiles | None = None
    ) -> AsyncIterator[Any]:
        """A caller with a certificate for these names."""
        shown = client_credentials(tls or self._authority.issue(*names))
        channel = kind(self._address, SECRET, shown, "node.example", token=token)
        try:
            yield channel
        finally:
            await channel.aclose()


@asynccontextmanager
async def place(
    authority: "Authority", *, guarded: bool = True, **more: Any
) -> AsyncIterator[Place]:
    settings = AccessSettings.model_validate({"roles": ROLES, "identities": IDENTITIES, **more})
    access = Access(settings) if guarded else None
    async with running_node("edge", *SERVICES) as node:
        server = Server(node, Binding(tls=authority.issue("node.example")), access=access)
        port = await server.start()
        try:
            yield Place(node, f"127.0.0.1:{port}", authority)
        finally:
            await server.stop(0.0)


async def outcome(channel: Any, call: Call) -> Any:
    """Return what a call gives, a stream's values as a list, or the class of its error."""
    try:
        reply = await channel.send(call)
        return [value async for value in reply.value] if call.stream else reply.value
    except CallError as error:
        return type(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["app.example", "spiffe://prod.example/app"])
async def test_a_guest_may_invoke_what_its_role_names_and_nothing_else(
    kind: Any, name: str, authority: "Authority", call_of: Calls
) -> None:
    async with place(authority) as at, at.caller(kind, name) as channel:
        assert await outcome(channel, call_of(embed, text="a")) == "A"
        assert await outcome(channel, call_of(count, to=3)) == [0, 1, 2]
        assert await outcome(channel, call_of(forget)) is AccessDenied
        assert await outcome(channel, call_of(wipe)) is AccessDenied
        assert (await channel.describe()).name == "edge"
        calls = at.node.metrics.calls
        assert calls["forget", "ACCESS_DENIED"] == calls["wipe", "ACCESS_DENIED"] == 1
        assert calls["forget", "OK"] == calls["wipe", "OK"] == 0
    async with place(authority, guarded=False) as at, at.caller(kind, name) as channel:
        assert await outcome(channel, call_of(forget)) == "gone"  # the control
        assert await outcome(channel, call_of(wipe)) == [1]


@pytest.mark.parametrize("kind", KINDS)
async def test_no_answer_is_sent_above_what_the_caller_is_cleared_for(
    kind: Any, authority: "Authority", call_of: Calls
) -> None:
    async with place(authority) as at:
        async with at.caller(kind, "cloud.example") as channel:
            got = await outcome(channel, call_of(same, INTERNAL, text=Internal("a")))
            assert got.label.level == Level.INTERNAL
            assert (
                await outcome(channel, call_of(same, SENSITIVE, text=Sensitive("a")))
                is PrivacyRefused
            )
            assert (
                await outcome(channel, call_of(each, Label(Level.SECRET), texts=[Secret("a")]))
                is PrivacyRefused
            )
        async with at.caller(kind, "slow.example") as channel:  # the control: without a clearance
            got = await outcome(channel, call_of(same, SENSITIVE, text=Sensitive("a")))
            assert got.label.level == Level.SENSITIVE
            (chunk,) = await outcome(
                channel, call_of(each, Label(Level.SECRET), texts=[Secret("a")])
            )
            assert chunk.label.level == Level.SECRET


@pytest.mark.parametrize("kind", KINDS)
async def test_whoever_is_not_in_the_file_may_do_nothing(
    kind: Any, authority: "Authority", call_of: Calls
) -> None:
    for guarded in (True, False):
        async with place(authority, guarded=guarded) as at:
            async with at.caller(kind, "other.example") as channel:
                given = [
                    await outcome(channel, call_of(embed, text="a")),
                    await outcome(channel, call_of(count, to=1)),
                ]
                assert given == ([AccessDenied, AccessDenied] if guarded else ["A", [0]])
                if guarded:
                    with pytest.raises(AccessDenied, match="the caller has no role at this node"):
                        await channel.describe()
                    async with aclosing(channel.watch(0.05)) as reports:
                        with pytest.raises(AccessDenied):
                            await anext(reports)


@pytest.mark.parametrize("kind", KINDS)
async def test_reports_are_for_those_who_may_read_them(
    kind: Any, authority: "Authority", call_of: Calls
) -> None:
    async with place(authority) as at:
        async with at.caller(kind, "silent.example") as channel:
            with pytest.raises(AccessDenied, match="may read reports"):
                await channel.describe()
            async with aclosing(channel.watch(0.05)) as reports:
                with pytest.raises(AccessDenied, match="may read reports"):
                    await anext(reports)
            assert await outcome(channel, call_of(embed, text="a")) == "A"
        async with at.caller(kind, "app.example") as channel:
            async with aclosing(channel.watch(0.05)) as reports:
                assert (await anext(reports)).name == "edge"  # the control


async def test_the_refusal_is_a_fixed_sentence(authority: "Authority", call_of: Calls) -> None:
    async with place(authority) as at, at.caller(SessionChannel, "app.example") as channel:
        with pytest.raises(AccessDenied) as caught:
            await channel.send(call_of(forget))
    assert str(caught.value) == "edge: no role of the caller may invoke that service"
    assert caught.value.retry == "never"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rate_of_an_identity_is_that_of_all_its_sessions(
    kind: Any, authority: "Authority", call_of: Calls
) -> None:
    async with place(authority) as at:
        async with at.caller(kind, "slow.example") as one, at.caller(kind, "slow.example") as two:
            assert await outcome(one, call_of(embed, text="a")) == "A"
            assert await outcome(two, call_of(embed, text="a")) == "A"
            for channel in (one, two):
                with pytest.raises(Overloaded, match="has used up its calls") as caught:
                    await channel.send(call_of(embed, text="a"))
                assert caught.value.retry == "always"
        async with at.caller(kind, "app.example") as other:
            assert await outcome(other, call_of(embed, text="a")) == "A"


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_at_once_are_counted_until_they_end_however_they_do(
    kind: Any, authority: "Authority", call_of: Calls, until: Any
) -> None:
    async with place(authority) as at, at.caller(kind, "narrow.example") as channel:
        held = asyncio.create_task(channel.send(call_of(nap, length=60.0)))
        await until(lambda: at.node.admission.inside == 1)
        with pytest.raises(Overloaded, match="has 1 calls in the node, its limit"):
            await channel.send(call_of(embed, text="a"))
        assert await outcome(channel, call_of(count, to=1)) is Overloaded
        held.cancel()
        await until(lambda: at.node.admission.inside == 0)
        assert await outcome(channel, call_of(count, to=2)) == [0, 1]
        stream = (await channel.send(call_of(count, to=2**62))).value
        assert await anext(stream) == 0
        assert await outcome(channel, call_of(embed, text="a")) is Overloaded
        await stream.aclose()
        await until(lambda: at.node.admission.inside == 0)
        assert await outcome(channel, call_of(embed, text="a")) == "A"


def tokens(issuer: "Issuer", **more: Any) -> dict[str, Any]:
    return {"tokens": {"keys": issuer.jwks(), "audience": "cloud-1.example", **more}}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_must_be_bound_to_the_certificate_it_travels_with(
    kind: Any, authority: "Authority", issuer: "Issuer", call_of: Calls
) -> None:
    from orchestrator.serving.access.tokens import thumbprint_of

    app, other = authority.issue("app.example"), authority.issue("other.example")
    assert app.cert
    print_of_app = {"x5t#S256": thumbprint_of(app.cert.read_bytes())}
    table = [
        (app, issuer.token(), "A"),
        (app, issuer.token(sub="alice", cnf=print_of_app), "A"),
        (other, issuer.token(sub="alice", cnf=print_of_app), AccessDenied),
        (other, issuer.token(), AccessDenied),
        (app, issuer.token(sub="alice"), AccessDenied),
        (app, issuer.token(exp=int(time.time()) - 61), AccessDenied),
        (app, issuer.token(aud="cloud-2.example"), AccessDenied),
        (app, issuer.forged({"alg": "none"}), AccessDenied),
        (app, "garbage", AccessDenied),
    ]
    async with place(authority, **tokens(issuer)) as at:
        for tls, token, expected in table:
            async with at.caller(kind, tls=tls, token=token) as channel:
                assert await outcome(channel, call_of(embed, text="a")) == expected


async def test_a_session_ends_in_order_when_its_token_expires(
    authority: "Authority", issuer: "Issuer", call_of: Calls
) -> None:
    soon = int(time.time()) - 57  # the leeway is 60 s
    async with place(authority, **tokens(issuer)) as at:
        async with at.caller(SessionChannel, "app.example", token=issuer.token(exp=soon)) as known:
            under_way = asyncio.create_task(known.send(call_of(nap, length=4.0)))
            results = []
            while time.time() < soon + 60.5:
                results.append(await outcome(known, call_of(embed, text="a")))
                await asyncio.sleep(0.05)
            assert "A" in results[:5]
            assert (await under_way).value == "awake"  # what was inside was answered
            assert await outcome(known, call_of(embed, text="a")) in (
                AccessDenied,
                EndpointUnavailable,  # said while the session ended
            )
            assert await outcome(known, call_of(embed, text="a")) is AccessDenied
            with pytest.raises(AccessDenied):
                await known.describe()
        longer = issuer.token(exp=soon + 300)
        async with at.caller(SessionChannel, "app.example", token=longer) as channel:
            assert await outcome(channel, call_of(embed, text="a")) == "A"  # the control


async def test_on_this_machine_a_token_alone_is_enough_where_the_file_says_so(
    issuer: "Issuer", call_of: Calls
) -> None:
    settings = AccessSettings.model_validate(
        {"roles": ROLES, "identities": IDENTITIES, **tokens(issuer, need_certificate=False)}
    )
    async with running_node("edge", *SERVICES) as node:
        server = Server(node, Binding(), access=Access(settings))
        address = f"127.0.0.1:{await server.start()}"
        try:
            for token, expected in ((issuer.token(), "A"), ("", AccessDenied), ("x", AccessDenied)):
                for kind in KINDS:
                    channel = kind(address, SECRET, token=token)
                    assert await outcome(channel, call_of(embed, text="a")) == expected
                    if expected == "A":
                        # A session without gRPC shows no token, so there is no such socket.
                        assert (await channel.describe()).socket == ""
                    await channel.aclose()
        finally:
            await server.stop(0.0)
