"""Running a coroutine in a context of its own, in the task that awaits it."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

OnWait = Callable[[], object]
"""Is told once, when work that could have been done at once has to wait for something."""


def nobody() -> None:
    """Be told, and do nothing."""


@coroutine
def in_context(
    work: Coroutine[Any, Any, T], context: Context, on_wait: OnWait
) -> Generator[Any, Any, T]:
    """Await a coroutine that sees and sets the variables of a context of its own.

    A task would give it one, too, at ten times the cost for work that never waits. The current
    task stays that of the awaiter, so time limits and cancellation reach the work as always.

    Args:
        work: The coroutine.
        context: Its context.
        on_wait: Is told when it first waits.
    """
    run = context.run
    try:
        waits_for = run(work.send, None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    on_wait()
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:
                waits_for = run(work.throw, error)
            else:
                waits_for = run(work.send, sent)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
