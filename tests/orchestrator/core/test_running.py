import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator.core.audit import Audit, LoggedAudit
from orchestrator.core.errors import PrivacyRefused, UsageError
from orchestrator.core.labels import Sensitive
from orchestrator.core.model import Model
from orchestrator.core.running import (
    UNKNOWN,
    Running,
    label_floor,
    node_here,
    process_on,
    running,
    running_as,
)
from policies.facts import PUBLIC, Clearance, Label, Level, Tier

SENSITIVE = Label(Level.SENSITIVE)


class Here:
    """A node without models."""

    def __init__(self, level: Level = Level.SECRET, tier: Tier = "edge") -> None:
        self.name = "edge-1"
        self.tier: Tier = tier
        self.clearance = Clearance(level)
        self.audit: Audit = LoggedAudit()
        self.reveal_allowed = True

    async def run_model(self, model: Model, inputs: Any) -> Any:
        return inputs

    def run_model_blocking(self, model: Model, inputs: Any) -> Any:
        return inputs


class Place:
    """A slot that notes when it is given up and taken again."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextmanager
    def given_up(self) -> Iterator[None]:
        self.notes.append("given up")
        yield
        self.notes.append("taken again")


def in_a_bare_thread(what: Any) -> Any:
    """Run something in a thread that inherits no context."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(what()))
    thread.start()
    thread.join()
    return found[0]


def test_outside_of_every_body_there_is_no_node_and_no_floor() -> None:
    assert running() is None
    assert label_floor() == PUBLIC


def test_a_body_knows_its_node_and_floor_and_forgets_them_at_its_end() -> None:
    outer, inner = Running(Here(), floor=SENSITIVE), Running(Here(tier="cloud"))
    with running_as(outer):
        with running_as(inner):
            assert node_here("it").tier == "cloud"
        with pytest.raises(ZeroDivisionError), running_as(inner):
            _ = 1 / 0
        assert running() is outer
        assert label_floor() == SENSITIVE
    assert running() is None


def test_a_thread_that_lost_its_context_fails_closed_in_a_daemon() -> None:
    with process_on(Here()):
        assert in_a_bare_thread(label_floor) == UNKNOWN
        assert not Clearance(Level.SECRET, frozenset({"pii"})).covers(UNKNOWN)
    assert in_a_bare_thread(label_floor) == PUBLIC


def test_a_body_in_a_daemon_has_its_own_floor_not_that_of_the_process() -> None:
    with process_on(Here()), running_as(Running(Here(), floor=SENSITIVE)):
        assert label_floor() == SENSITIVE


def test_a_thread_that_lost_its_context_opens_nothing_for_nobody_would_know_of_it() -> None:
    envelope = Sensitive("geheim")

    def refused() -> str:
        with pytest.raises(PrivacyRefused, match=r"lost the body.*start the thread with asyncio"):
            _ = envelope.value
        return "refused"

    with process_on(Here()), running_as(here := Running(Here())):
        assert in_a_bare_thread(refused) == "refused"
        assert (envelope.value, here.opened) == ("geheim", SENSITIVE)


def test_labels_opened_by_many_threads_of_a_body_are_all_in_its_floor() -> None:
    for _ in range(20):
        here, start = Running(Here()), threading.Barrier(8)

        def open_one(number: int, here: Running = here, start: threading.Barrier = start) -> None:
            start.wait()
            here.note_opened(Label(Level.INTERNAL, frozenset({str(number)})))

        threads = [threading.Thread(target=open_one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert here.raised_floor == Label(Level.INTERNAL, frozenset("01234567"))


def test_a_declassifier_is_trusted_up_to_its_level() -> None:
    here = Running(Here(), trusted=Level.SENSITIVE)
    here.note_opened(SENSITIVE)
    assert here.raised_floor == PUBLIC
    here.note_opened(Label(Level.SECRET))
    assert here.raised_floor == Label(Level.SECRET)


def test_two_nodes_in_one_process_leave_in_any_order() -> None:
    first, second = process_on(Here()), process_on(Here(tier="cloud"))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert node_here("it").tier == "cloud"
    second.__exit__(None, None, None)
    assert running() is None


def test_a_model_called_outside_of_a_body_names_the_cure() -> None:
    with pytest.raises(UsageError, match=r"minilm runs inside a service's body.*cloud_service\(m"):
        node_here("minilm")


def test_a_body_that_waits_gives_its_place_to_another() -> None:
    place = Place()
    with Running(Here(), slot=place).waiting(Future()):
        assert place.notes == ["given up"]
    assert place.notes == ["given up", "taken again"]


def test_a_body_without_a_place_waits_without_giving_one_up() -> None:
    with Running(Here()).waiting(Future()):
        pass


def test_what_a_body_waits_for_is_cancelled_when_its_call_is_given_up() -> None:
    here, first, later = Running(Here()), Future[None](), Future[None]()
    with here.waiting(first):
        assert not first.cancelled()
        here.waits.give_up()
    with here.waiting(later):
        assert first.cancelled()
        assert later.cancelled()
