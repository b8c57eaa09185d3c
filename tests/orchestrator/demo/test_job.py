import asyncio
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.core.call import Call
from orchestrator.core.errors import EndpointUnavailable
from orchestrator.demo.generate import COUNT
from orchestrator.demo.job import Job, Message, read_inbox
from orchestrator.demo.ledger import Ledger
from orchestrator.dispatch.interceptors import Next

APP = "orchestrator.demo.services"


def test_the_inbox_is_read_as_messages() -> None:
    messages = read_inbox()
    assert len(messages) == COUNT
    assert all(isinstance(message, Message) for message in messages)


async def test_some_messages_are_sorted_and_the_books_agree(minilm_store: Path) -> None:
    messages, ledger, done = read_inbox()[:40], Ledger(), []
    async with Orchestrator({"models": {"store": minilm_store}}, app=APP):
        job = Job(ledger, lambda: done.append(ledger.done))
        await job.learn_topics()
        await job.sort(messages)
    assert ledger.submitted == ledger.done == len(done) == 40
    assert ledger.lost == {}
    assert ledger.sorted_right > 25
    confidential = sum(message.confidential for message in messages)
    names = [step.name for step in ledger.steps]
    assert names.count("clean") == names.count("embed") == names.count("match") == 40 - confidential
    assert names.count("embed (confidential)") == confidential
    assert ledger.refused == {"archive": 2}
    private = {step.tier for step in ledger.steps if "confidential" in step.name}
    assert private <= {"edge"}


async def test_a_message_that_fails_is_entered_as_lost_and_the_others_go_on(
    minilm_store: Path,
) -> None:
    messages, ledger = [m for m in read_inbox() if not m.confidential][:12], Ledger()

    async def spoil(call: Call, rest: Next) -> object:
        if call.service == "clean" and messages[3].text in str(
            call.arguments["text"].reveal("a test")
        ):
            raise EndpointUnavailable("spoilt")
        return await rest(call)

    settings = {"models": {"store": minilm_store}}
    async with Orchestrator(settings, app=APP, interceptors=[spoil]):  # type: ignore[list-item]
        job = Job(ledger, lambda: None)
        await job.learn_topics()
        await job.sort(messages)
    assert ledger.lost == {messages[3].id: "ENDPOINT_UNAVAILABLE"}
    assert (ledger.submitted, ledger.done) == (12, 11)


async def test_whoever_waits_for_a_count_hears_of_it_even_when_messages_are_lost() -> None:
    ledger = Ledger(submitted=3, done=1, lost={1: "NO_ROUTE", 2: "NO_ROUTE"})
    await asyncio.wait_for(Job(ledger, lambda: None).reached(3), 5)


async def test_an_error_that_is_not_of_a_call_ends_the_job_loudly() -> None:
    job = Job(Ledger(), lambda: None)  # no orchestrator is open
    with pytest.raises(Exception, match="no orchestrator is open"):
        await job.sort(read_inbox()[:1])
