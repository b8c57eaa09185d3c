import re
from collections.abc import AsyncGenerator, Callable

import pytest

from orchestrator.core.call import Call, Chunks, Reply, Result, Timings
from orchestrator.core.deadline import Deadline
from orchestrator.testing import ManualClock
from policies.facts import PUBLIC, CallFacts, Decision, Placement

CALL = Call(
    id="00000000000000ab",
    trace="0" * 30 + "cd",
    service="embed",
    version="v1",
    arguments={"text": "geheim"},
    label=PUBLIC,
    deadline=Deadline.after(1.0, ManualClock()),
    placement=Placement("edge"),
)
FACTS = CallFacts("embed", "v1", PUBLIC, Placement("edge"), 0, 1.0)


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_no_payload_shows_when_a_call_or_its_answer_is_printed(
    show: Callable[[object], str],
) -> None:
    decision = Decision(FACTS, (), ())
    result = Result("geheim", "edge", "n", PUBLIC, decision, Timings(), 1.0, ("n",), CALL.id)
    assert "embed" in show(CALL)
    for part in (CALL, Reply("geheim"), result):
        assert "geheim" not in show(part)


def test_work_done_for_a_call_carries_its_w3c_trace_context() -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", CALL.trace_parent)
    assert CALL.trace_parent == f"00-{CALL.trace}-{CALL.id}-01"


async def test_chunks_tell_their_timings_when_the_source_has_ended() -> None:
    measured = [Timings()]

    async def source() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        measured[0] = Timings(node_ms=7.0)

    chunks = Chunks(source(), lambda: measured[0])
    assert chunks.timings == Timings()
    assert [chunk async for chunk in chunks] == [1, 2]
    assert chunks.timings.node_ms == 7.0


async def test_chunks_that_are_closed_free_what_their_source_holds() -> None:
    freed: list[str] = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            freed.append("all")

    chunks = Chunks(source(), Timings)
    assert await anext(chunks) == 1
    await chunks.aclose()
    assert freed == ["all"]
    assert [chunk async for chunk in chunks] == []
