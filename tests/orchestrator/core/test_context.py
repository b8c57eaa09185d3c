import contextvars
import threading
from typing import TYPE_CHECKING

import pytest

from orchestrator.core.context import Caller, active_caller, calling_through, is_open, opened
from orchestrator.core.errors import UsageError
from orchestrator.core.home import Home
from orchestrator.core.report import NodeReport
from orchestrator.decorators import edge_service
from orchestrator.testing import running_node
from orchestrator.wire.inprocess import InProcessChannel
from policies.facts import Clearance, Level

if TYPE_CHECKING:
    from tests.orchestrator.core.conftest import FakeCaller


@edge_service
def double(x: int) -> int:
    return 2 * x


def in_a_bare_thread() -> Caller:
    """Return the caller that a thread without our context finds."""
    found: list[Caller] = []
    thread = threading.Thread(target=lambda: found.append(active_caller()))
    thread.start()
    thread.join()
    return found[0]


def another(caller: "FakeCaller") -> "FakeCaller":
    return type(caller)(caller.home)


def test_without_an_open_orchestrator_the_cure_is_named() -> None:
    with pytest.raises(UsageError, match=r"`with Orchestrator\(\): \.\.\.`, or use \.local"):
        active_caller()


def test_the_innermost_orchestrator_of_the_context_takes_the_call(caller: "FakeCaller") -> None:
    inner = another(caller)
    with opened(inner):
        assert active_caller() is inner
    assert active_caller() is caller


def test_a_thread_without_context_uses_the_outermost_orchestrator(caller: "FakeCaller") -> None:
    with opened(another(caller)):
        assert in_a_bare_thread() is caller


def test_an_orchestrator_is_open_until_it_is_closed(caller: "FakeCaller") -> None:
    inner = another(caller)
    with opened(inner):
        assert is_open(inner)
    with pytest.raises(ZeroDivisionError), opened(inner):
        _ = 1 / 0
    assert not is_open(inner)
    assert is_open(caller)


def test_a_nodes_own_caller_is_active_without_being_the_default(caller: "FakeCaller") -> None:
    own = another(caller)
    with calling_through(own):
        assert active_caller() is own
        assert in_a_bare_thread() is caller
        assert not is_open(own)


def test_an_orchestrator_may_be_closed_in_another_context_than_it_was_opened_in() -> None:
    home = Home()
    try:
        block = opened(type("Caller", (), {"home": home})())
        contextvars.copy_context().run(block.__enter__)
        block.__exit__(None, None, None)
        with pytest.raises(UsageError, match="no orchestrator is open"):
            active_caller()
    finally:
        home.close()


def test_an_orchestrator_that_was_closed_elsewhere_is_not_called_any_more(
    caller: "FakeCaller",
) -> None:
    block, there = opened(another(caller)), contextvars.copy_context()
    there.run(block.__enter__)
    block.__exit__(None, None, None)
    assert there.run(active_caller) is caller


async def test_a_node_is_all_that_a_channel_in_this_process_needs() -> None:
    async with running_node("edge", double, clearance=Clearance(Level.INTERNAL)) as node:
        report: NodeReport = await InProcessChannel(node, node.clearance).describe()
    assert [service.name for service in report.services] == ["double"]
