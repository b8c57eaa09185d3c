import asyncio
import contextvars
import re
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING

import pytest

from orchestrator.core.call import Privacy
from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import InvalidInput, PrivacyRefused
from orchestrator.core.labels import Internal, Secret, Sensitive
from orchestrator.core.running import UNKNOWN, Running, process_on, running, running_as
from orchestrator.decorators import cloud_service, edge_service
from orchestrator.testing import as_node
from policies.facts import PUBLIC, Label, Level, Placement

if TYPE_CHECKING:
    from tests.orchestrator.core.conftest import FakeCaller

FLOOR = Label(Level.SENSITIVE, frozenset({"pii"}))


@edge_service(overflow="cloud", deadline="2s", idempotent=True)
def double(x: int) -> int:
    return 2 * x


@cloud_service
def seal(x: Sensitive[str], y: Secret[int] | None = None) -> Sensitive[str]:
    return x


@edge_service
def count(n: int) -> Iterator[int]:
    yield from range(n)


def body(floor: Label = PUBLIC, deadline: Deadline | None = None, trace: str = "") -> Running:
    with as_node("edge"):
        here = running()
    assert here
    return Running(here.node, floor=floor, deadline=deadline, trace=trace)


def test_a_call_carries_all_that_its_service_declares(caller: "FakeCaller") -> None:
    double(3)
    [call] = caller.calls
    assert (call.service, call.version) == ("double", double.spec.version)
    assert call.arguments == {"x": 3}
    assert (call.idempotent, call.stream, call.attempt) == (True, False, 1)
    assert call.placement == Placement("edge", "overflow")
    assert call.deadline.left() == pytest.approx(2.0)
    assert call.label == PUBLIC


def test_ids_come_from_the_callers_source_and_differ(caller: "FakeCaller") -> None:
    double(1)
    double(2)
    one, other = caller.calls
    assert re.fullmatch("[0-9a-f]{16}", one.id)
    assert re.fullmatch("[0-9a-f]{32}", one.trace)
    assert one.id != other.id
    assert one.trace != other.trace


def test_a_call_is_labelled_with_the_join_of_its_arguments(caller: "FakeCaller") -> None:
    seal(Internal("a", "pii"), Secret(1, "phi"))
    assert caller.calls[0].label == Label(Level.SECRET, frozenset({"pii", "phi"}))


def test_a_plain_argument_of_a_labelled_parameter_is_labelled(caller: "FakeCaller") -> None:
    seal("a")  # type: ignore[arg-type]
    assert caller.calls[0].label == Label(Level.SENSITIVE)


def test_a_call_from_a_body_has_at_least_the_bodys_floor(caller: "FakeCaller") -> None:
    with running_as(body(FLOOR)):
        double(1)
        seal(Internal("a", "phi"))
        seal(Internal("a"), Secret(1))
    assert [call.label for call in caller.calls] == [
        FLOOR,
        Label(Level.SENSITIVE, frozenset({"pii", "phi"})),
        Label(Level.SECRET, frozenset({"pii"})),
    ]


def test_the_positive_control_has_no_floor(caller: "FakeCaller") -> None:
    with running_as(body(PUBLIC)):
        double(1)
    assert caller.calls[0].label == PUBLIC


async def no_values() -> AsyncGenerator[int, None]:
    for number in range(0):
        yield number


def test_a_stream_keeps_the_floor_of_the_body_that_asked_for_it(caller: "FakeCaller") -> None:
    caller.answer = lambda call: no_values()
    with running_as(body(FLOOR)):
        stream = count(1)
    assert list(stream) == []
    assert caller.calls[0].label == FLOOR


async def test_the_floor_reaches_asynchronous_calls_on_another_loop(caller: "FakeCaller") -> None:
    with running_as(body(FLOOR)):
        await double.aio(1)
        _ = [answer async for answer in double.aio.map([2, 3])]
        await asyncio.create_task(double.aio.call(4))
    assert {call.label for call in caller.calls} == {FLOOR}


def test_the_floor_reaches_threads_that_take_the_context_along(caller: "FakeCaller") -> None:
    with running_as(body(FLOOR)):
        context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(double, 1))
    thread.start()
    thread.join()
    assert caller.calls[0].label == FLOOR


def test_a_thread_that_lost_its_context_in_a_daemon_sends_nothing_readable(
    caller: "FakeCaller",
) -> None:
    with process_on(body().node):
        thread = threading.Thread(target=lambda: double(1))
        thread.start()
        thread.join()
    assert caller.calls[0].label == UNKNOWN


def test_a_nested_call_has_no_more_time_than_its_parent(caller: "FakeCaller") -> None:
    for seconds, left in ((0.5, 0.5), (60.0, 2.0)):
        with running_as(body(deadline=Deadline.after(seconds, caller.clock))):
            double(1)
        assert caller.calls[-1].deadline.left() == pytest.approx(left)


def test_a_nested_call_stands_in_its_parents_trace(caller: "FakeCaller") -> None:
    with running_as(body(trace="ab" * 16)):
        double(1)
    assert caller.calls[0].trace == "ab" * 16


def test_preparing_a_new_service_takes_nothing_of_the_calls_time(caller: "FakeCaller") -> None:
    caller.on_prepare = lambda: caller.time.turn(60.0)
    double(1)
    assert caller.prepared == ["double"]
    assert caller.calls[0].deadline.left() == pytest.approx(2.0)


def test_what_is_refused_is_never_sent_or_prepared(caller: "FakeCaller") -> None:
    with pytest.raises(InvalidInput):
        double("1")  # type: ignore[arg-type]
    with pytest.raises(PrivacyRefused):
        double(Sensitive(1))  # type: ignore[arg-type]
    assert (caller.calls, caller.prepared) == ([], [])


def test_an_answer_is_loaded_as_its_declared_type(caller: "FakeCaller") -> None:
    caller.answer = lambda call: "7"
    assert double(1) == 7
    caller.answer = lambda call: "seven"
    with pytest.raises(InvalidInput, match="'result': int_parsing"):
        double(1)


def test_deadlines_of_calls_follow_the_callers_clock(caller: "FakeCaller") -> None:
    double.options(deadline="100ms")(1)
    caller.time.turn(0.1)
    assert caller.calls[0].deadline.left() == pytest.approx(0.0)


def test_a_call_says_what_of_its_label_the_body_brought(caller: "FakeCaller") -> None:
    with running_as(body(FLOOR)):
        seal(Internal("x", "phi"))
    seal(Internal("x", "phi"))
    assert [call.floor for call in caller.calls] == [FLOOR, PUBLIC]


def test_a_call_carries_what_its_service_says_of_privacy(caller: "FakeCaller") -> None:
    kinds: tuple[Privacy, ...] = ("refuse", "local", "pseudonymise")
    for privacy in kinds:
        cloud_service(seal.local, privacy=privacy, name=privacy)(Sensitive("x"))
    assert [call.privacy for call in caller.calls] == ["refuse", "local", "pseudonymise"]
