"""The threads that run one model's batches, each going straight on to what is laid out for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.core.deadline import Clock
from orchestrator.core.model import Row, Stop
from orchestrator.serving.batching.forward import Forward
from orchestrator.serving.batching.waiting import Caller, Entry
from orchestrator.serving.threads import DaemonThreads

Outcome = Sequence[Row] | BaseException
"""The answers of a run, or why there are none."""


@dataclass(slots=True, eq=False)
class Run:
    """A batch on its way through the model.

    Attributes:
        batch: Its rows; those whose callers have left are dropped when it begins.
        stop: Asks it to end.
        since: When it began.
        seconds: How long it took.
    """

    batch: list[Entry]
    stop: Stop = field(default_factory=Stop)
    since: float = 0.0
    seconds: float = 0.0

    @property
    def callers(self) -> list[Caller]:
        """Whose rows it has."""
        return list(dict.fromkeys(entry.caller for entry in self.batch))

    @property
    def length(self) -> int:
        """What its rows are padded to."""
        return max(entry.length for entry in self.batch)


class Workers:
    """Runs batches side by side, in threads.

    One batch may be laid out while all are busy: the first worker that is done goes straight on
    to it. A processor does not stand still while the event loop, which has lost its core to the
    other workers, hands answers out and puts the next batch together.

    Args:
        forward: Computes rows.
        count: How many run side by side.
        done: Is told of every run and what came of it, on the event loop.
        clock: Tells how long runs take.
    """

    def __init__(
        self, forward: Forward, count: int, done: Callable[[Run, Outcome], None], clock: Clock
    ) -> None:
        self._forward = forward
        self._count = count
        self._done = done
        self._clock = clock
        self._busy = 0
        self._next: deque[Run] = deque(maxlen=1)
        self._threads = DaemonThreads(f"isthmus-{forward.name}")

    @property
    def idle(self) -> int:
        """How many have nothing to do."""
        return self._count - self._busy

    @property
    def wants_more(self) -> bool:
        """Whether all are busy and nothing is laid out for the first that is done."""
        return not self.idle and not self._next

    def start(self, run: Run) -> None:
        """Let an idle worker run a batch now."""
        self._busy += 1
        self._threads.submit(self._work, run, asyncio.get_running_loop())

    def lay_out(self, run: Run) -> None:
        """Let the first worker that is done run a batch next."""
        self._next.append(run)

    def _work(self, run: Run | None, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            while run:
                outcome = self._outcome(run)
                following = self._take_next()
                loop.call_soon_threadsafe(self._ended, run, outcome, following is None)
                run = following

    def _outcome(self, run: Run) -> Outcome:
        run.since = began = self._clock()
        run.batch = [entry for entry in run.batch if not entry.caller.left]
        try:
            rows = [entry.row for entry in run.batch]
            return self._forward(rows, run.stop) if rows else []
        except BaseException as error:
            return error
        finally:
            run.seconds = self._clock() - began

    def _take_next(self) -> Run | None:
        try:
            return self._next.popleft()
        except IndexError:  # another worker was faster, or there was none
            return None

    def _ended(self, run: Run, outcome: Outcome, rests: bool) -> None:
        if rests:
            self._busy -= 1
            if following := self._take_next():  # laid out in the moment in which it went to rest
                self.start(following)
        self._done(run, outcome)
