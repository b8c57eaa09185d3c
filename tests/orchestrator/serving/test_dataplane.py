import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from orchestrator.core.call import Call
from orchestrator.core.errors import (
    CallError,
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    NoRoute,
    Overloaded,
    PrivacyRefused,
    ServiceFailed,
)
from orchestrator.core.labels import Internal, Labelled, Secret, Sensitive
from orchestrator.core.running import label_floor, running
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import ManualClock
from policies.facts import PUBLIC, Clearance, Label, Level

MakeCall = Callable[..., Call]
SENSITIVE, SECRET = Label(Level.SENSITIVE), Label(Level.SECRET)
CANARY = "canary-31bd"
floors: list[Label] = []
ran: list[str] = []
closed = threading.Event()


@edge_service
async def whisper(text: Secret[str]) -> Secret[str]:
    ran.append("whisper")
    return text.with_value(text.value.lower())


@edge_service(inline=True)
def launder(text: Secret[str]) -> Labelled[str] | None:
    return None if not text.value else Internal(text.value)


@edge_service(inline=True)
def launder_in_a_list(text: Secret[str]) -> list[Labelled[str]]:
    return [Internal(text.value)]


hidden = Secret(CANARY, "pii")


@edge_service(inline=True)
def spill() -> str:
    return hidden.value


@edge_service(inline=True)
def keep_what_it_found() -> Secret[str]:
    return Internal(hidden.value)


@edge_service(inline=True)
def keep_all(texts: list[Secret[str]]) -> list[Secret[str]]:
    return texts


@edge_service(inline=True, declassifies=True)
def redact(text: Secret[str]) -> str:
    floors.append(label_floor())
    return "***"


@edge_service(inline=True)
def lie() -> int:
    return CANARY  # type: ignore[return-value]


@edge_service
def lie_in_a_stream() -> Iterator[int]:
    yield 1
    yield CANARY  # type: ignore[misc]


@edge_service
async def floor_of(text: Sensitive[str]) -> Sensitive[str]:
    floors.append(label_floor())
    return text


@edge_service
async def forward(text: Sensitive[str]) -> Sensitive[str]:
    await note()
    return text


@edge_service
async def note() -> None:
    floors.append(label_floor())


@edge_service(declassifies=True)
async def forward_cleaned(text: Sensitive[str]) -> str:
    await note()
    return "clean"


@edge_service
async def stream_of(text: Sensitive[str]) -> AsyncIterator[Sensitive[str]]:
    try:
        while True:
            floors.append(label_floor())
            yield text
    finally:
        floors.append(label_floor())
        closed.set()


@edge_service
def plain_stream_of(text: Sensitive[str]) -> Iterator[Sensitive[str]]:
    try:
        while True:
            floors.append(label_floor())
            yield text
    finally:
        floors.append(label_floor())
        closed.set()


@edge_service
async def wait_for_ever() -> int:
    try:
        await asyncio.Event().wait()
    finally:
        ran.append("given up")
    return 0


@edge_service
async def count() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1


@edge_service
async def gives_itself_up() -> int:
    raise asyncio.CancelledError(CANARY)


@edge_service(inline=True)
def twice(number: int) -> int:
    return 2 * number


@cloud_service
def elsewhere() -> int:
    return 1


class Picky(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        if name == "odd":
            raise ValueError(CANARY)
        if name.startswith("strange"):
            raise RuntimeError(CANARY)
        return name


@dataclass
class Pair:
    left: int
    right: int


@edge_service(inline=True)
def take(item: Picky, pair: Pair) -> str:
    return item.name


ALL = [
    whisper, launder, launder_in_a_list, keep_all, redact, floor_of, forward, note, twice,
    forward_cleaned, gives_itself_up,
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    floors.clear()
    ran.clear()
    closed.clear()


async def test_a_label_above_the_nodes_clearance_is_refused_before_the_body(
    node_with: Any, call_of: MakeCall
) -> None:
    call = call_of(whisper, SECRET, text=Secret("A"))
    async with node_with(whisper, clearance=Clearance(Level.SENSITIVE)) as node:
        with pytest.raises(PrivacyRefused, match="above clearance sensitive of this node"):
            await node.handle(call)
        assert ran == []
    async with node_with(whisper) as node:  # the positive control
        assert (await node.handle(call)).value.reveal("a test") == "a"


async def test_a_category_outside_the_nodes_clearance_is_refused(
    node_with: Any, call_of: MakeCall
) -> None:
    label = Label(Level.SECRET, frozenset({"phi"}))
    call = call_of(whisper, label, text=Secret("A", "phi"))
    for categories, served in (({"pii"}, False), ({"phi", "pii"}, True)):
        clearance = Clearance(Level.SECRET, frozenset(categories))
        async with node_with(whisper, clearance=clearance) as node:
            if served:
                assert (await node.handle(call)).value.label == label
            else:
                with pytest.raises(PrivacyRefused):
                    await node.handle(call)


@pytest.mark.parametrize("text", [Secret("A"), "A"])
async def test_an_argument_labelled_above_its_call_is_refused_before_the_body(
    node_with: Any, call_of: MakeCall, text: Any
) -> None:
    async with node_with(whisper) as node:
        for label in (PUBLIC, SENSITIVE, Label(Level.SENSITIVE, frozenset({"pii"}))):
            with pytest.raises(PrivacyRefused, match="an argument's label is above the call's"):
                await node.handle(call_of(whisper, label, text=text))
        assert ran == []
        await node.handle(call_of(whisper, SECRET, text=text))  # the positive control
        assert ran == ["whisper"]


async def test_a_call_whose_time_is_up_does_not_run(node_with: Any, call_of: MakeCall) -> None:
    clock = ManualClock()
    call = call_of(whisper, SECRET, seconds=5.0, clock=clock, text=Secret("A"))
    async with node_with(whisper) as node:
        await node.handle(call)
        clock.turn(5.0)
        with pytest.raises(DeadlineExceeded):
            await node.handle(call)
    assert ran == ["whisper"]


async def test_a_body_that_takes_too_long_is_given_up(node_with: Any, call_of: MakeCall) -> None:
    async with node_with(wait_for_ever) as node:
        with pytest.raises(DeadlineExceeded):
            await node.handle(call_of(wait_for_ever, seconds=0.05))
        assert ran == ["given up"]
        assert node.metrics.calls["wait_for_ever", "DEADLINE_EXCEEDED"] == 1


async def test_a_call_that_is_given_up_gives_its_body_up(
    node_with: Any, call_of: MakeCall, turns: Any
) -> None:
    async with node_with(wait_for_ever) as node:
        handling = asyncio.create_task(node.handle(call_of(wait_for_ever)))
        await turns()
        assert node.admission.inside == 1
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling
        assert (ran, node.admission.inside) == (["given up"], 0)
        assert node.metrics.calls["wait_for_ever", Cancelled.code] == 1


async def test_a_body_that_raises_cancelled_error_by_itself_has_failed(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(gives_itself_up) as node:
        with pytest.raises(ServiceFailed, match="CancelledError in gives_itself_up"):
            await node.handle(call_of(gives_itself_up))


async def test_a_full_node_refuses_and_says_so(
    node_with: Any, call_of: MakeCall, turns: Any
) -> None:
    async with node_with(wait_for_ever, twice, max_in_flight=1) as node:
        handling = asyncio.create_task(node.handle(call_of(wait_for_ever)))
        await turns()
        with pytest.raises(Overloaded) as caught:
            await node.handle(call_of(twice, number=1))
        assert (caught.value.node, caught.value.retry) == ("node-1", "always")
        handling.cancel()
        await turns()
        assert (await node.handle(call_of(twice, number=1))).value == 2


async def test_a_refusal_of_any_kind_names_node_and_call(node_with: Any, call_of: MakeCall) -> None:
    calls = {
        NoRoute: call_of(elsewhere),
        InvalidInput: call_of(twice, number="two"),
        PrivacyRefused: call_of(whisper, PUBLIC, text=Secret("A")),
        DeadlineExceeded: call_of(twice, seconds=-1.0, number=1),
        ServiceFailed: call_of(gives_itself_up),
    }
    async with node_with(*ALL) as node:
        for kind, call in calls.items():
            with pytest.raises(kind) as caught:
                await node.handle(call)
            error: Any = caught.value
            assert (error.node, error.call_id) == ("node-1", call.id)
            assert node.admission.inside == 0


async def test_arguments_are_checked_and_their_values_not_repeated(
    node_with: Any, call_of: MakeCall
) -> None:
    pair = {"left": 1, "right": 2}
    async with node_with(take) as node:
        assert (await node.handle(call_of(take, item={"name": "x"}, pair=pair))).value == "x"
        for arguments in (
            {"item": {"name": "x"}},
            {"item": {"name": CANARY}, "pair": {"left": CANARY, "right": 1}},
            {"item": {"name": "odd"}, "pair": pair},
            {"item": {"name": "x"}, "pair": pair, CANARY: 1},
            {"item": CANARY, "pair": pair},
        ):
            with pytest.raises(InvalidInput) as caught:
                await node.handle(call_of(take, **arguments))
            if CANARY not in arguments:  # the name of an argument is no value
                assert CANARY not in str(caught.value)


async def test_a_validator_that_raises_something_else_is_an_error_of_the_call(
    node_with: Any, call_of: MakeCall
) -> None:
    call = call_of(take, item={"name": "strange"}, pair={"left": 1, "right": 2})
    async with node_with(take) as node:
        with pytest.raises(CallError) as caught:
            await node.handle(call)
        assert CANARY not in str(caught.value)
        assert caught.value.node == "node-1"
        assert node.metrics.calls["take", "OK"] == 0


async def test_a_result_that_does_not_fit_its_annotation_is_refused_without_the_value(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(lie, lie_in_a_stream) as node:
        with pytest.raises(ServiceFailed, match="lie gave") as caught:
            await node.handle(call_of(lie))
        assert CANARY not in str(caught.value)
        chunks = (await node.handle(call_of(lie_in_a_stream))).value
        assert await anext(chunks) == 1
        with pytest.raises(ServiceFailed, match="lie_in_a_stream gave"):
            await anext(chunks)
        assert node.admission.inside == 0


async def test_a_plain_result_of_what_was_opened_is_refused(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(spill, keep_what_it_found, twice) as node:
        assert (await node.handle(call_of(twice, number=1))).value == 2  # the positive control
        with pytest.raises(PrivacyRefused, match=r"secret\{pii\}") as caught:
            await node.handle(call_of(spill))
        assert CANARY not in str(caught.value)
        kept = (await node.handle(call_of(keep_what_it_found))).value
        assert kept.label == hidden.label


async def test_an_envelope_of_a_lower_level_is_raised_to_the_label_of_the_arguments(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(launder) as node:
        label = Label(Level.SECRET, frozenset({"phi"}))
        reply = await node.handle(call_of(launder, label, text=Secret("x", "phi")))
        assert reply.value.label == label
        assert (await node.handle(call_of(launder, SECRET, text=Secret("")))).value is None
    async with node_with(launder_in_a_list, keep_all) as node:
        for service, arguments in (
            (launder_in_a_list, {"text": Secret("x")}),
            (keep_all, {"texts": [Internal("x"), Secret("y")]}),
        ):
            reply = await node.handle(call_of(service, SECRET, **arguments))
            assert {part.label for part in reply.value} == {SECRET}


async def test_an_empty_answer_of_a_labelled_type_is_allowed_like_none(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(pick) as node:
        assert (await node.handle(call_of(pick, SECRET, text=Secret("x")))).value == []


@edge_service(inline=True)
def pick(text: Secret[str]) -> list[Secret[str]]:
    return [text] if text.value == "never" else []


async def test_a_declassifier_is_audited_without_the_payload(
    node_with: Any, call_of: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    label = Label(Level.SECRET, frozenset({"pii"}))
    async with node_with(redact) as node:
        reply = await node.handle(call_of(redact, label, text=Secret(CANARY, "pii")))
        assert reply.value == "***"
        assert node.metrics.declassified["redact"] == 1
    audit = [record.getMessage() for record in caplog.records if record.name == "isthmus.audit"]
    assert audit == ["redact lowered a value labelled secret{pii}"]
    assert CANARY not in caplog.text


async def test_a_category_cannot_forge_a_line_of_the_audit_log(
    node_with: Any, call_of: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    forged = "x\n2026-01-01 [info] redact lowered a value labelled public"
    label = Label(Level.SECRET, frozenset({forged}))
    async with node_with(redact) as node:
        await node.handle(call_of(redact, label, text=Secret("s", forged)))
    assert not any("\n" in record.getMessage() for record in caplog.records)


async def test_what_a_body_calls_inherits_its_label_and_only_a_declassifier_lifts_it(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(*ALL) as node:
        await node.handle(call_of(floor_of, SENSITIVE, text=Sensitive("x")))
        await node.handle(call_of(forward, SENSITIVE, text=Sensitive("x")))
        await node.handle(call_of(forward_cleaned, SENSITIVE, text=Sensitive("x")))
        await node.handle(call_of(note))
    assert floors == [SENSITIVE, SENSITIVE, PUBLIC, PUBLIC]


@pytest.mark.parametrize("service", [stream_of, plain_stream_of])
async def test_the_floor_holds_in_every_step_of_a_stream_and_not_between_them(
    node_with: Any, call_of: MakeCall, service: Any
) -> None:
    async with node_with(service) as node:
        chunks = (await node.handle(call_of(service, SENSITIVE, text=Sensitive("x")))).value
        for _ in range(3):
            await anext(chunks)
            assert running() is None
            assert label_floor() == PUBLIC
        assert floors == [SENSITIVE] * 3
        await chunks.aclose()
        assert await asyncio.to_thread(closed.wait, 10)


@pytest.mark.parametrize("service", [plain_stream_of, stream_of])
async def test_the_floor_holds_while_a_stream_that_was_left_early_cleans_up(
    node_with: Any, call_of: MakeCall, service: Any
) -> None:
    async with node_with(service) as node:
        chunks = (await node.handle(call_of(service, SENSITIVE, text=Sensitive("x")))).value
        await anext(chunks)
        await chunks.aclose()
        assert await asyncio.to_thread(closed.wait, 10)
    assert floors == [SENSITIVE, SENSITIVE]


async def test_a_stream_counts_as_inside_until_it_is_closed(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(count) as node:
        chunks = (await node.handle(call_of(count))).value
        assert node.admission.inside == 0  # it is checked when its first value is asked for
        assert [await anext(chunks), await anext(chunks)] == [0, 1]
        assert node.admission.inside == 1
        await chunks.aclose()
        assert node.admission.inside == 0
        assert node.metrics.calls["count", "CANCELLED"] == 1


async def test_a_stream_ends_at_its_deadline_even_if_its_body_never_waits(
    node_with: Any, call_of: MakeCall
) -> None:
    clock = ManualClock()
    async with node_with(count) as node:
        chunks = (await node.handle(call_of(count, seconds=1.0, clock=clock))).value
        assert await anext(chunks) == 0
        clock.turn(2.0)
        try:
            with pytest.raises(DeadlineExceeded):
                await anext(chunks)
        finally:
            await chunks.aclose()


clock_of_slow = ManualClock()


@edge_service(inline=True)
def slow() -> None:
    clock_of_slow.turn(0.25)


async def test_what_was_measured_adds_up(node_with: Any, call_of: MakeCall) -> None:
    async with node_with(slow, clock=clock_of_slow) as node:
        timings = (await node.handle(call_of(slow, clock=clock_of_slow))).timings
    assert timings.node_ms == timings.service_ms == pytest.approx(250)
    assert (timings.queue_ms, timings.waiting) == (0, 0)


@edge_service(inline=True)
def late() -> str:
    clock_of_slow.turn(5.0)
    return "late"


async def test_a_value_that_comes_after_the_deadline_is_no_answer(
    node_with: Any, call_of: MakeCall
) -> None:
    async with node_with(late, clock=clock_of_slow) as node:
        assert (await node.handle(call_of(late, seconds=6.0, clock=clock_of_slow))).value == "late"
        with pytest.raises(DeadlineExceeded):
            await node.handle(call_of(late, seconds=4.0, clock=clock_of_slow))
