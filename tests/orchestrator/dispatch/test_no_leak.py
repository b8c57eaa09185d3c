import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.call import Call, Chunks, Reply, Timings
from orchestrator.core.errors import (
    CallError,
    DeadlineExceeded,
    EndpointUnavailable,
    InvalidInput,
    ModelUnavailable,
    NoRoute,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
    WireError,
)
from orchestrator.core.labels import ENVELOPES, label_of
from orchestrator.routing.endpoint import Endpoint
from orchestrator.testing import ManualClock
from policies.base import Filter
from policies.catalog import build_chain
from policies.chain import Chain
from policies.facts import PUBLIC, Clearance, Label, Level, Placement, Tier

MakeFleet = Callable[..., Any]
MakeEndpoint = Callable[..., Endpoint]
MakeCall = Callable[..., Call]

ANSWERS: dict[str, Any] = {
    "answers": "hi",
    "not reached": EndpointUnavailable("gone"),
    "perhaps reached": EndpointUnavailable("gone", sent=True),
    "full": Overloaded(),
    "other version": NoRoute(),
    "no model": ModelUnavailable(),
    "nonsense": WireError(),
    "late": DeadlineExceeded(),
    "fails": ServiceFailed(),
    "refuses": InvalidInput(),
    "forbids": PrivacyRefused(),
}
# Besides its answer, what else happens while a call is at a node.
EVENTS = ("nothing", "goes down", "all come up", "claims secret", "is replaced by a public one")

levels = st.sampled_from(Level)
categories = st.frozensets(st.sampled_from(["pii", "phi"]))
labels = st.builds(Label, levels, categories)
clearances = st.builds(Clearance, levels, st.none() | categories)
steps = st.tuples(st.sampled_from(sorted(ANSWERS)), st.sampled_from(EVENTS))


@dataclass(frozen=True)
class NodeDraw:
    """A node of the fleet: its real clearance, what it says of itself, and what it will do."""

    tier: Tier
    clearance: Clearance
    claims: Clearance
    cost: float
    up: bool
    script: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CallDraw:
    """One call; `hidden` is an envelope among its arguments, whatever the call's label says."""

    label: Label
    hidden: Label | None
    placement: Placement
    stream: bool
    idempotent: bool


tiers = st.sampled_from(["edge", "cloud"])
spreads = st.sampled_from(["home", "overflow", "fallback"])
nodes = st.lists(
    st.builds(
        NodeDraw,
        tiers,
        clearances,
        clearances,
        st.floats(0, 50),
        st.booleans(),
        st.lists(steps, max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=4,
)
calls = st.lists(
    st.builds(
        CallDraw,
        labels,
        st.none() | labels,
        st.builds(Placement, tiers, spreads),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


class NoPrivacy(Chain):
    """The positive control: a chain with its promise taken out."""

    def __init__(self, filters: Sequence[Filter] = ()) -> None:
        super().__init__([], [])
        self.filters = tuple(filters)


class Play:
    """Sends drawn calls through a drawn fleet and looks who got what."""

    def __init__(
        self, make: tuple[MakeFleet, MakeEndpoint, MakeCall], *, chain: Chain, guarded: bool
    ) -> None:
        self.make_fleet, self.make_endpoint, self.make_call = make
        self.chain = chain
        self.guarded = guarded
        self.clock = ManualClock()
        self.all: list[Endpoint] = []

    def run(self, nodes: Sequence[NodeDraw], calls: Sequence[CallDraw]) -> list[str]:
        """Return the leaks: who was sent what it is not cleared for."""
        asyncio.run(self._run(nodes, calls))
        return [
            f"{endpoint.name}, cleared for {endpoint.options.clearance}, got {call.label}"
            for endpoint in self.all
            for call in endpoint.channel.sent  # type: ignore[attr-defined]
            if not endpoint.options.clearance.covers(call.label.join(label_of(call.arguments)))
        ]

    async def _run(self, nodes: Sequence[NodeDraw], calls: Sequence[CallDraw]) -> None:
        self.fleet = self.make_fleet(chain=self.chain, clock=self.clock)
        for number, node in enumerate(nodes):
            self._stand(f"node-{number}", node)
        for call in calls:
            try:
                result = await self.fleet.dispatcher.invoke(self._call(call))
                if call.stream:
                    [chunk async for chunk in result.value]
            except CallError:
                pass
            self.clock.turn(0.7)  # open circuits let a trial pass now and then

    def _stand(self, name: str, node: NodeDraw) -> None:
        endpoint = self.make_endpoint(
            name,
            node.tier,
            *(self._step(name, *step) for step in node.script),
            clearance=node.clearance,
            claims=node.claims,
            cost=node.cost,
            guarded=self.guarded,
            clock=self.clock,
            up=node.up,
        )
        self.fleet.directory.standing[name] = endpoint
        self.all.append(endpoint)

    def _step(self, name: str, answer: str, event: str) -> Any:
        async def step(call: Call) -> Any:
            self._happen(name, event)
            said = ANSWERS[answer]
            if isinstance(said, BaseException) or not call.stream:
                return said
            return Reply(Chunks(_chunks(said), Timings))

        return step

    def _happen(self, name: str, event: str) -> None:
        standing: dict[str, Any] = self.fleet.directory.standing
        if event == "goes down":
            standing[name].saw_down("gone")
        elif event == "all come up":
            for endpoint in standing.values():
                endpoint.saw_report(endpoint.channel.report)
        elif event == "claims secret":
            standing[name].channel.report = self.make_endpoint(
                name, standing[name].options.tier, claims=Clearance(Level.SECRET)
            ).report
            standing[name].saw_report(standing[name].channel.report)
        elif event == "is replaced by a public one":
            for other in list(standing):
                node = NodeDraw(
                    standing[other].options.tier,
                    Clearance(),
                    Clearance(Level.SECRET),
                    0.0,
                    up=True,
                    script=(),
                )
                self._stand(other, node)

    def _call(self, drawn: CallDraw) -> Call:
        text: Any = "hello"
        if drawn.hidden and drawn.hidden.level in ENVELOPES:
            text = [ENVELOPES[drawn.hidden.level]("hello", *drawn.hidden.categories)]
        return self.make_call(
            drawn.label,
            text=text,
            clock=self.clock,
            placement=drawn.placement,
            stream=drawn.stream,
            idempotent=drawn.idempotent,
        )


async def _chunks(value: Any) -> Any:
    yield value


@pytest.fixture
def make(
    make_fleet: MakeFleet, make_endpoint: MakeEndpoint, make_call: MakeCall
) -> tuple[MakeFleet, MakeEndpoint, MakeCall]:
    return make_fleet, make_endpoint, make_call


Make = tuple[MakeFleet, MakeEndpoint, MakeCall]
with_fixtures = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@with_fixtures
@given(nodes=nodes, calls=calls)
def test_no_call_is_ever_sent_below_its_label_whatever_fails_and_in_whatever_order(
    make: Make, nodes: list[NodeDraw], calls: list[CallDraw]
) -> None:
    assert Play(make, chain=build_chain(), guarded=True).run(nodes, calls) == []


@with_fixtures
@given(nodes=nodes, calls=calls)
def test_the_guard_alone_would_keep_that_promise(
    make: Make, nodes: list[NodeDraw], calls: list[CallDraw]
) -> None:
    assert Play(make, chain=NoPrivacy(), guarded=True).run(nodes, calls) == []


SECRET_CALL = CallDraw(Label(Level.SECRET), None, Placement("edge", "fallback"), False, False)
DYING_EDGE = NodeDraw(
    "edge",
    Clearance(Level.SECRET),
    Clearance(Level.SECRET),
    1.0,
    up=True,
    script=(("not reached", "goes down"),),
)
CLOUD = NodeDraw("cloud", Clearance(), Clearance(Level.SECRET), 1.0, up=True, script=())


def test_without_filter_and_guard_the_property_would_fail(make: Make) -> None:
    play = Play(make, chain=NoPrivacy(), guarded=False)
    leaks = play.run([DYING_EDGE, CLOUD], [SECRET_CALL])
    assert set(leaks) == {"node-1, cleared for public, got secret"}


def test_with_the_filter_alone_the_same_failover_leaks_nothing(make: Make) -> None:
    play = Play(make, chain=build_chain(), guarded=False)
    assert play.run([DYING_EDGE, CLOUD], [SECRET_CALL]) == []
    assert [len(endpoint.channel.sent) for endpoint in play.all] == [1, 0]  # type: ignore[attr-defined]


def test_an_envelope_hidden_in_a_public_call_is_stopped_by_the_guard_alone(make: Make) -> None:
    hidden = CallDraw(PUBLIC, Label(Level.SECRET), Placement("cloud"), False, False)
    assert Play(make, chain=build_chain(), guarded=True).run([CLOUD], [hidden]) == []
    assert Play(make, chain=build_chain(), guarded=False).run([CLOUD], [hidden])


def test_the_play_really_sends_calls(make: Make) -> None:
    public = CallDraw(PUBLIC, None, Placement("edge", "overflow"), True, True)
    answering = NodeDraw(
        "edge", Clearance(), Clearance(), 1.0, up=True, script=(("answers", "nothing"),)
    )
    play = Play(make, chain=build_chain(), guarded=True)
    assert play.run([answering], [public]) == []
    assert [len(endpoint.channel.sent) for endpoint in play.all] == [1]  # type: ignore[attr-defined]
