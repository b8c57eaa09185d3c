import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import EndpointUnavailable, PrivacyRefused, WireError
from orchestrator.core.report import NodeReport
from orchestrator.wire.attached import AttachedNode
from orchestrator.wire.dialled import SessionChannel
from orchestrator.wire.frames import Kind, encode_frame, encode_message, encode_report_message
from orchestrator.wire.messages import encode_report
from policies.facts import Clearance, Label, Level

Fast = Callable[[Coroutine[Any, Any, Any]], Any]
SECRET = Clearance(Level.SECRET)


def report(**facts: Any) -> NodeReport:
    return NodeReport("edge-7", "edge", **{"state": "ready", "clearance": SECRET, **facts})


def frame_of(number: int, said: NodeReport) -> tuple[Any, ...]:
    return Kind.REPORT, number, encode_report(said).SerializeToString()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(node: AttachedNode, link: Any) -> AsyncIterator["asyncio.Task[bool]"]:
    """Attach a node that the test plays while the block runs."""
    # Seen from gRPC the orchestrator is the server: it reads and writes as a node's end does.
    task = asyncio.create_task(node.serve(link.node, report()))
    await turns()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def node() -> AttachedNode:
    return AttachedNode("edge-7", "0.0.0.0:50050")


async def test_a_node_that_is_not_attached_is_unavailable_with_the_cure_and_nothing_is_sent(
    node: AttachedNode, call_of: Callable[..., Call]
) -> None:
    channel = SessionChannel("edge-7", SECRET, link=node)
    with pytest.raises(EndpointUnavailable, match="is it running with --attach") as caught:
        await channel.send(call_of())
    assert caught.value.retry == "always"


async def test_the_guard_stands_before_an_attached_node_too(
    node: AttachedNode, new_link: Any, call_of: Callable[..., Call]
) -> None:
    link = new_link()
    channel = SessionChannel("edge-7", Clearance(Level.INTERNAL), link=node)
    async with serving(node, link):
        with pytest.raises(PrivacyRefused):
            await channel.send(call_of(label=Label(Level.SENSITIVE)))
        assert await link.as_caller.hear_all() == []
        sending = asyncio.create_task(channel.send(call_of(label=Label(Level.INTERNAL))))
        kind, number, _ = await link.as_caller.hear()  # the control
        assert (kind, number) == (Kind.CALL, 1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_question_is_answered_by_the_report_that_bears_its_number(
    node: AttachedNode, new_link: Any
) -> None:
    link = new_link()
    async with serving(node, link):
        asking = asyncio.create_task(node.describe())
        assert await link.as_caller.hear() == (Kind.REPORT, 1, b"")
        await link.as_caller.say(frame_of(0, report(waiting=1)))
        await turns()
        assert not asking.done()
        await link.as_caller.say(frame_of(1, report(waiting=2)))
        assert (await asking).waiting == 2


async def test_questions_asked_at_once_are_one_message_and_one_answer(
    node: AttachedNode, new_link: Any
) -> None:
    link = new_link()
    async with serving(node, link):
        asking = [asyncio.create_task(node.describe()) for _ in range(5)]
        assert await link.as_caller.hear() == (Kind.REPORT, 5, b"")
        await link.as_caller.say(frame_of(5, report(waiting=3)))
        assert {said.waiting for said in await asyncio.gather(*asking)} == {3}
        assert await link.as_caller.hear_all() == []


def test_who_asks_waits_a_moment_for_a_node_that_is_about_to_attach(
    fast: Fast, new_link: Any
) -> None:
    async def work() -> None:
        node, link = AttachedNode("edge-7", "here"), new_link()
        asking = asyncio.create_task(node.describe())
        await asyncio.sleep(1.0)
        async with serving(node, link):
            assert await link.as_caller.hear() == (Kind.REPORT, 1, b"")
            await link.as_caller.say(frame_of(1, report()))
            assert (await asking).name == "edge-7"

    fast(work())


def test_a_node_that_does_not_answer_is_unavailable(fast: Fast, new_link: Any) -> None:
    async def work() -> None:
        node, link = AttachedNode("edge-7", "here"), new_link()
        async with serving(node, link):
            with pytest.raises(EndpointUnavailable, match="attached and does not answer"):
                await node.describe()
            # It thaws, and the next question is heard.
            await link.as_caller.hear()
            asking = asyncio.create_task(node.describe())
            assert await link.as_caller.hear() == (Kind.REPORT, 2, b"")
            await link.as_caller.say(frame_of(2, report()))
            assert (await asking).state == "ready"

    fast(work())


def test_a_node_that_reads_nothing_makes_nobody_wait_longer(fast: Fast, new_link: Any) -> None:
    async def work() -> None:
        node, link = AttachedNode("edge-7", "here"), new_link(capacity=1)
        link.to_caller.hold()
        async with serving(node, link):
            for _ in range(4):
                with pytest.raises(EndpointUnavailable, match="does not answer"):
                    await node.describe()
            assert link.to_caller.waiting == 1

    fast(work())


async def test_reports_are_followed_until_the_stream_ends(
    node: AttachedNode, new_link: Any
) -> None:
    link = new_link()
    async with serving(node, link) as task:
        reports = node.watch(0.5)
        assert (await anext(reports)).state == "ready"
        for state in ("draining", "blocked"):
            await link.as_caller.say(frame_of(0, report(state=state)))
            assert (await anext(reports)).state == state
        link.to_node.finish()
        assert [said async for said in reports] == []
        assert await task is False
    with pytest.raises(EndpointUnavailable, match="is not attached"):
        await anext(node.watch(0.5))
    assert node.report is None


async def test_a_question_that_is_open_when_the_stream_ends_fails_at_once(
    node: AttachedNode, new_link: Any
) -> None:
    link = new_link()
    async with serving(node, link):
        asking = asyncio.create_task(node.describe())
        await link.as_caller.hear()
        link.to_node.finish()
        with pytest.raises(EndpointUnavailable, match="edge-7 went away"):
            async with asyncio.timeout(1):
                await asking


async def test_the_newest_stream_wins_and_the_calls_of_the_older_end(
    node: AttachedNode, new_link: Any, call_of: Callable[..., Call]
) -> None:
    older, newer = new_link(), new_link()
    channel = SessionChannel("edge-7", SECRET, link=node)
    async with serving(node, older) as first:
        inside = asyncio.create_task(channel.send(call_of()))
        assert (await older.as_caller.hear())[0] is Kind.CALL
        async with serving(node, newer) as second:
            assert await first is True
            with pytest.raises(EndpointUnavailable) as caught:
                await inside
            assert caught.value.sent
            # What the older one still says is not heard.
            await older.as_caller.say(frame_of(9, report(state="blocked")))
            await turns()
            assert node.report is not None
            assert node.report.state == "ready"
            again = asyncio.create_task(channel.send(call_of()))
            assert (await newer.as_caller.hear())[0] is Kind.CALL
            newer.to_node.finish()
            assert await second is False
            await asyncio.gather(again, return_exceptions=True)
    assert not node.attached


@pytest.mark.parametrize(
    "message",
    [
        encode_report_message(0, b"\xff"),
        encode_report_message(0),
        encode_message([encode_frame(Kind.REPORT, 0), encode_frame(Kind.RESULT, 1)]),
        encode_report_message(0, b"x" * 2**20),
        b"?",
    ],
    ids=["no message", "no tier", "not alone", "too long", "no frames"],
)
async def test_a_report_that_makes_no_sense_ends_the_stream(
    node: AttachedNode, new_link: Any, message: bytes
) -> None:
    link = new_link()
    async with serving(node, link) as task:
        await link.as_caller.say_bytes(message)
        with pytest.raises(WireError):
            await task
        assert not node.attached


async def test_a_node_that_sends_what_nobody_asked_for_is_cut_before_it_fills_the_memory(
    node: AttachedNode, new_link: Any
) -> None:
    link = new_link(capacity=1000)
    async with serving(node, link) as task:
        for _ in range(100):
            await link.as_caller.say((Kind.RESULT, 1, b"x" * 1000))
        with pytest.raises(WireError, match="nobody asked for"):
            await task


async def test_closing_ends_the_stream_and_the_node_may_attach_again(
    node: AttachedNode, new_link: Any
) -> None:
    async with serving(node, new_link()) as task:
        await node.aclose()
        assert await task is False
    async with serving(node, new_link()):
        assert node.attached


async def test_nothing_is_left_behind_by_streams_that_end(
    node: AttachedNode, new_link: Any, call_of: Callable[..., Call]
) -> None:
    before = asyncio.all_tasks()
    for _ in range(5):
        link = new_link()
        async with serving(node, link):
            channel = SessionChannel("edge-7", SECRET, link=node)
            sending = asyncio.create_task(channel.send(call_of()))
            await link.as_caller.hear()
        await asyncio.gather(sending, return_exceptions=True)
        await channel.aclose()
    assert asyncio.all_tasks() == before
