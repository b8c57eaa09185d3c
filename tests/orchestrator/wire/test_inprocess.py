from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from orchestrator.core.call import Call
from orchestrator.core.errors import InvalidInput, PrivacyRefused, ServiceFailed
from orchestrator.core.labels import Secret
from orchestrator.decorators import edge_service
from orchestrator.testing import running_node
from orchestrator.wire.inprocess import InProcessChannel
from policies.facts import Clearance, Label, Level

SECRET = Clearance(Level.SECRET)
MakeCall = Callable[..., Call]
kept: list[np.ndarray] = []


@edge_service(inline=True)
def spoil(items: list[int]) -> list[int]:
    items.append(99)
    return items


@edge_service(inline=True)
def keep(rows: np.ndarray) -> np.ndarray:
    kept[:] = [rows, np.ones(3)]
    return kept[1]


@edge_service(inline=True)
def fail(text: str) -> str:
    raise KeyError(text)


@edge_service(inline=True)
def whisper(text: Secret[str]) -> Secret[str]:
    return text.with_value(text.value.lower())


@edge_service
async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


async def test_a_body_cannot_change_what_its_caller_holds(call_of: MakeCall) -> None:
    mine = [1, 2]
    async with running_node("edge", spoil) as node:
        reply = await InProcessChannel(node, SECRET).send(call_of(spoil, items=mine))
    assert (mine, reply.value) == ([1, 2], [1, 2, 99])


async def test_arrays_are_read_only_on_both_ends_and_their_owners_keep_theirs(
    call_of: MakeCall,
) -> None:
    mine = np.zeros(3)
    async with running_node("edge", keep) as node:
        reply = await InProcessChannel(node, SECRET).send(call_of(keep, rows=mine))
    assert not kept[0].flags.writeable
    assert not reply.value.flags.writeable
    mine[0] = kept[1][0] = 5


async def test_the_original_exception_is_the_cause(call_of: MakeCall) -> None:
    async with running_node("edge", fail) as node:
        with pytest.raises(ServiceFailed, match="KeyError in fail") as caught:
            await InProcessChannel(node, SECRET).send(call_of(fail, text="canary"))
    assert isinstance(caught.value.__cause__, KeyError)
    assert "canary" not in str(caught.value)


async def test_the_guard_stands_before_a_node_in_this_process_too(call_of: MakeCall) -> None:
    call = call_of(whisper, label=Label(Level.SECRET), text=Secret("A"))
    async with running_node("edge", whisper) as node:
        open_channel = InProcessChannel(node, SECRET)
        assert (await open_channel.send(call)).value.reveal("a test") == "a"
        with pytest.raises(PrivacyRefused, match="above clearance internal"):
            await InProcessChannel(node, Clearance(Level.INTERNAL)).send(call)
        with pytest.raises(InvalidInput, match="MiB"):
            await InProcessChannel(node, SECRET, max_bytes=10).send(call)
        assert node.metrics.calls.total() == 1  # what was refused never reached the node


async def test_timings_of_a_stream_come_with_its_end(call_of: MakeCall) -> None:
    async with running_node("edge", count) as node:
        chunks = (await InProcessChannel(node, SECRET).send(call_of(count, to=2))).value
        assert [chunk async for chunk in chunks] == [0, 1]
        assert chunks.timings.node_ms > 0


async def test_closing_the_channel_leaves_the_node_to_its_owner(call_of: MakeCall) -> None:
    async with running_node("edge", spoil) as node:
        await InProcessChannel(node, SECRET).aclose()
        assert (await InProcessChannel(node, SECRET).send(call_of(spoil, items=[]))).value == [99]
