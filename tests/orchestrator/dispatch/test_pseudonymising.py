import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    PrivacyRefused,
    ServiceFailed,
)
from orchestrator.core.labels import Internal, Secret, Sensitive, label_of, sealed_value
from orchestrator.dispatch.pseudonymising import Pseudonymising
from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.pseudonyms import PseudonymSession
from orchestrator.privacy.recognisers import Span
from orchestrator.routing.endpoint import Endpoint
from policies.facts import PUBLIC, Clearance, Label, Level, Placement

MakeFleet = Callable[..., Any]
MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]
Ask = Callable[..., Call]

ADA = "ada@example.com"
CLOUD = Placement("cloud")
INTERNAL, PII = Label(Level.INTERNAL), Label(Level.SENSITIVE, frozenset({"pii"}))


@pytest.fixture
def ask(make_call: MakeCall) -> Ask:
    """Makes a call to pseudonymise of what is given."""

    def ask(text: Any = None, **terms: Any) -> Call:
        text = Sensitive(f"I am {ADA}", "pii") if text is None else text
        privacy, floor = terms.pop("privacy", "pseudonymise"), terms.pop("floor", PUBLIC)
        more = terms.pop("more", {})
        call = make_call(label_of(text).join(floor), text=text, **{"placement": CLOUD, **terms})
        return replace(call, privacy=privacy, floor=floor, arguments={**call.arguments, **more})

    return ask


@pytest.fixture
def fleet(make_fleet: MakeFleet, make_endpoint: MakeEndpoint) -> Any:
    """An edge that may see all and a cloud that may see what is internal; both echo."""

    async def echo(call: Call) -> Reply:
        return Reply(call.arguments["text"])

    edge = make_endpoint("edge", "edge", *[echo] * 9, clearance=Clearance(Level.SECRET))
    cloud = make_endpoint("cloud", "cloud", *[echo] * 9, clearance=Clearance(Level.INTERNAL))
    return make_fleet(edge, cloud)


def way(fleet: Any, recognisers: Any = None) -> Pseudonymising:
    found = default_recognisers() if recognisers is None else recognisers
    return Pseudonymising(fleet.dispatcher.invoke, fleet.directory, found)


def sent(fleet: Any, node: str = "cloud") -> Any:
    """Return what a node got last, and check how it was labelled."""
    call = fleet.calls(node)[-1]
    text = call.arguments["text"]
    assert call.label == label_of(text) == INTERNAL
    return sealed_value(text)


async def test_the_cloud_gets_tokens_and_the_caller_his_values_under_their_label(
    fleet: Any, ask: Ask
) -> None:
    result = await way(fleet)(ask())
    assert re.fullmatch("I am EMAIL_.{8}", sent(fleet))
    assert sealed_value(result.value) == f"I am {ADA}"
    assert result.value.label == PII
    assert (result.node, result.label) == ("cloud", INTERNAL)


async def test_each_call_has_a_session_of_its_own(fleet: Any, ask: Ask) -> None:
    for _ in range(2):
        await way(fleet)(ask())
    first, second = (call.arguments["text"] for call in fleet.calls("cloud"))
    assert sealed_value(first) != sealed_value(second)


async def test_without_pseudonyms_the_call_would_be_refused(fleet: Any, ask: Ask) -> None:
    with pytest.raises(PrivacyRefused):
        await way(fleet)(ask(privacy="refuse"))
    with pytest.raises(PrivacyRefused):
        await fleet.dispatcher.invoke(ask())
    assert fleet.sent == []


@pytest.mark.parametrize("privacy", ["pseudonymise", "local"])
async def test_what_may_go_to_the_cloud_as_it_is_goes_untouched(
    fleet: Any, ask: Ask, privacy: str
) -> None:
    for text in ("public", Internal(f"I am {ADA}")):
        call = ask(text, privacy=privacy)
        await way(fleet)(call)
        assert fleet.calls("cloud")[-1].arguments is call.arguments


async def test_a_public_call_stays_one_where_there_is_no_cloud(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask
) -> None:
    fleet = make_fleet(make_endpoint("edge", "edge", "hi"))
    with pytest.raises(CallError):
        await way(fleet)(ask("public", privacy="local"))
    assert fleet.sent == []


async def test_clearances_count_and_not_who_is_there(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask
) -> None:
    cleared = make_endpoint("cleared", "cloud", clearance=Clearance(Level.SECRET), up=False)
    other = make_endpoint("other", "cloud", "hi", clearance=Clearance(Level.INTERNAL))
    fleet = make_fleet(cleared, other)
    with pytest.raises(CallError):
        await way(fleet)(ask())
    assert fleet.sent == []


async def test_a_node_that_asks_for_less_than_it_may_get_gets_pseudonyms(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask
) -> None:
    secret, internal = Clearance(Level.SECRET), Clearance(Level.INTERNAL)
    fleet = make_fleet(
        make_endpoint("cloud", "cloud", Internal("hi"), clearance=secret, claims=internal)
    )
    await way(fleet)(ask())
    assert ADA not in sent(fleet)


async def test_the_deadline_counts_while_values_are_looked_for(fleet: Any, ask: Ask) -> None:
    class Slow:
        def find(self, text: str) -> Iterator[Span]:
            time.sleep(0.2)
            yield from ()

    with pytest.raises(DeadlineExceeded, match="no time left after pseudonymising"):
        await way(fleet, [Slow()])(ask(seconds=0.05))
    assert fleet.sent == []


async def test_local_keeps_the_call_at_the_edge_as_it_is(fleet: Any, ask: Ask) -> None:
    call = ask(privacy="local")
    result = await way(fleet)(call)
    assert result.node == "edge"
    assert fleet.calls("edge")[0].arguments is call.arguments


async def test_a_call_that_was_sent_to_the_edge_alone_is_not_touched(fleet: Any, ask: Ask) -> None:
    call = ask(placement=Placement("edge"))
    assert (await way(fleet)(call)).node == "edge"
    assert fleet.calls("edge")[0].arguments is call.arguments


async def test_a_retry_and_a_fallback_have_the_same_pseudonyms(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask
) -> None:
    gone, internal = EndpointUnavailable("gone"), Clearance(Level.INTERNAL)
    fleet = make_fleet(
        make_endpoint("a", "cloud", gone, clearance=internal),
        make_endpoint("b", "cloud", gone, cost=5.0, clearance=internal),
        make_endpoint("edge", "edge", Internal("hi")),
    )
    result = await way(fleet)(ask(placement=Placement("cloud", "fallback")))
    assert result.attempts == ("a", "b", "edge")
    assert len({sent(fleet, node) for node in result.attempts}) == 1
    assert result.value.label == PII


@pytest.mark.parametrize("clearance", [Clearance(), Clearance(Level.PUBLIC, frozenset({"pii"}))])
async def test_pseudonymised_data_is_internal_and_refused_below_that(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask, clearance: Clearance
) -> None:
    fleet = make_fleet(make_endpoint("cloud", "cloud", clearance=clearance))
    with pytest.raises(PrivacyRefused, match="label internal is above clearance public"):
        await way(fleet)(ask())
    assert fleet.sent == []


REFUSED = [
    ({"text": Secret(ADA)}, "a secret must not depend on it"),
    ({"text": Sensitive(3)}, "'text' holds labelled data of type int"),
    ({"floor": Label(Level.SECRET)}, "a secret must not depend on it"),
    ({"floor": Label(Level.SENSITIVE, frozenset({"phi"}))}, "'text' is not in an envelope"),
    ({"floor": PII, "more": {"limit": 3}}, "'limit' is not in an envelope"),
    ({"floor": PII, "text": [Sensitive(ADA, "pii")]}, "'text' is not in an envelope"),
]


@pytest.mark.parametrize(("terms", "said"), REFUSED)
async def test_what_pseudonyms_are_not_enough_for_is_refused(
    fleet: Any, ask: Ask, terms: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PrivacyRefused) as caught:
        await way(fleet)(ask(**terms))
    assert said in str(caught.value)
    assert caught.value.call_id
    assert ADA not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert fleet.sent == []


@pytest.mark.parametrize("terms", [terms for terms, _ in REFUSED])
async def test_it_goes_to_the_edge_as_it_is_where_the_service_may(
    fleet: Any, ask: Ask, terms: Any
) -> None:
    call = ask(placement=Placement("cloud", "fallback"), **terms)
    assert (await way(fleet)(call)).attempts == ("edge",)
    assert fleet.calls("edge")[0].arguments is call.arguments


async def test_the_floor_of_a_body_is_no_obstacle_if_its_arguments_carry_it(
    fleet: Any, ask: Ask
) -> None:
    for floor in (PII, INTERNAL):
        await way(fleet)(ask(floor=floor))
        assert ADA not in sent(fleet)
    await way(fleet)(ask(floor=INTERNAL, more={"limit": 3}))
    assert fleet.calls("cloud")[-1].arguments["limit"] == 3


class Broken:
    """A recogniser whose error holds what it saw."""

    def find(self, text: str) -> Iterator[Span]:
        raise ValueError(text)


async def test_a_recogniser_that_fails_refuses_the_call_and_says_nothing_of_the_text(
    fleet: Any, ask: Ask
) -> None:
    with pytest.raises(PrivacyRefused) as caught:
        await way(fleet, [Broken()])(ask())
    assert "ValueError in a recogniser" in str(caught.value)
    assert caught.value.__suppress_context__
    assert ADA not in str(caught.value)
    assert fleet.sent == []


async def test_too_many_values_for_a_session_are_an_error_before_anything_is_sent(
    fleet: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {"key": None, "capacity": 1}
    monkeypatch.setattr(PseudonymSession.__init__, "__kwdefaults__", kept)
    with pytest.raises(InvalidInput, match="begin another session"):
        await way(fleet)(ask(Sensitive("a@b.com c@d.com")))
    assert fleet.sent == []


async def test_the_audit_log_tells_counts_and_labels_before_the_call_leaves(
    fleet: Any, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus.audit")
    await way(fleet)(ask(Sensitive(f"{ADA} b@c.com 4242 4242 4242 4242", "pii")))
    await way(fleet)(ask(Sensitive("nothing")))
    first, second = [r.getMessage() for r in caplog.records if r.name == "isthmus.audit"]
    assert first == (
        "echo pseudonymised call 0123456789abcdef from sensitive{pii} to internal: 1 card, 2 email"
    )
    assert second.endswith("from sensitive to internal: no private values found")
    assert ADA not in caplog.text


async def test_tokens_that_an_answer_invents_are_told_by_their_number(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    ask: Ask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = Internal("EMAIL_2C3D4F5H and EMAIL_7F")
    cloud = make_endpoint("cloud", "cloud", answer, clearance=Clearance(Level.INTERNAL))
    await way(make_fleet(cloud))(ask())
    assert "1 pseudonyms of the answer are unresolved, 1 are invented" in caplog.text
    assert "2C3D4F5H" not in caplog.text


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sessions that were begun."""
    begun: list[Any] = []

    class Noted(PseudonymSession):
        def __init__(self, *args: Any, **terms: Any) -> None:
            super().__init__(*args, **terms)
            begun.append(self)

    monkeypatch.setattr("orchestrator.dispatch.pseudonymising.PseudonymSession", Noted)
    return begun


def streaming(*pieces: str, fails: bool = False) -> Callable[[Call], Any]:
    async def answer(call: Call) -> Reply:
        echoed = sealed_value(call.arguments["text"])
        parts = [echoed if piece == "?" else piece for piece in pieces]
        return Reply(Chunks(_stream(parts, fails), Timings))

    return answer


async def _stream(parts: Sequence[str], fails: bool) -> Any:
    for part in parts:
        for letter in part:
            yield Internal(letter)
    if fails:
        raise ServiceFailed(node="cloud")


async def test_a_stream_is_restored_as_it_comes_and_forgotten_at_its_end(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask, sessions: list[Any]
) -> None:
    answer = streaming("Hello, ", "?", "'s friend")
    cloud = make_endpoint("cloud", "cloud", answer, clearance=Clearance(Level.INTERNAL))
    result = await way(make_fleet(cloud))(ask(stream=True))
    chunks = [chunk async for chunk in result.value]
    assert "".join(map(sealed_value, chunks)) == f"Hello, I am {ADA}'s friend"
    assert {chunk.label for chunk in chunks} == {PII}
    assert result.value.timings == Timings()
    assert sessions[0].clear() == 0


@pytest.mark.parametrize("how", ["fails", "is left", "is left unread"])
async def test_a_stream_that_ends_early_is_forgotten_too(
    make_fleet: MakeFleet,
    make_endpoint: MakeEndpoint,
    ask: Ask,
    sessions: list[Any],
    how: str,
) -> None:
    answer = streaming("Hello, ", "?", fails=how == "fails")
    cloud = make_endpoint("cloud", "cloud", answer, clearance=Clearance(Level.INTERNAL))
    fleet = make_fleet(cloud)
    stream = (await way(fleet)(ask(stream=True))).value
    assert len(sessions[0]._vault) == 1
    if how == "fails":
        with pytest.raises(ServiceFailed):
            [chunk async for chunk in stream]
    else:
        if how == "is left":
            await anext(stream)
        await stream.aclose()
    assert sessions[0].clear() == 0
    assert fleet.directory.standing["cloud"].limiter.count == 0


async def test_values_are_forgotten_with_the_answer_and_with_an_error(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, ask: Ask, sessions: list[Any]
) -> None:
    cloud = make_endpoint(
        "cloud", "cloud", Internal("hi"), ServiceFailed(), clearance=Clearance(Level.INTERNAL)
    )
    whole = way(make_fleet(cloud))
    await whole(ask())
    with pytest.raises(ServiceFailed):
        await whole(ask())
    assert [session.clear() for session in sessions] == [0, 0]
