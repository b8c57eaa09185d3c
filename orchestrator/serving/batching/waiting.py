"""The rows that wait for one model: who is the oldest, and who is nearest in length."""

import asyncio
from bisect import bisect_left, insort
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.core.deadline import Deadline
from orchestrator.core.model import Row
from orchestrator.core.running import Meter


@dataclass(slots=True, eq=False)
class Caller:
    """One caller's answers so far, and what its waiting costs it.

    Attributes:
        future: Where its answers go.
        meter: What its call has used so far.
        came: When its rows came.
        missing: How many of its answers are not there yet.
        answers: One place for each of its rows.
        idle_since: Since when no run has had rows of it, or since it came.
    """

    future: asyncio.Future[list[Row]]
    meter: Meter
    came: float
    missing: int
    answers: list[Row] = field(init=False)
    idle_since: float = field(init=False)

    def __post_init__(self) -> None:
        self.answers = [{}] * self.missing
        self.idle_since = self.came

    @property
    def left(self) -> bool:
        """Whether nobody waits for its answers any more."""
        return self.future.done()

    def answer(self, index: int, row: Row) -> None:
        """Put one answer in its place, and hand all over once none is missing."""
        self.answers[index] = row
        self.missing -= 1
        if not self.missing and not self.left:
            self.future.set_result(self.answers)

    def fail(self, error: BaseException) -> None:
        """Let the caller know why there is no answer."""
        if not self.left:
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Entry:
    """One row: whose it is, which of theirs, what it may run with, and by when."""

    caller: Caller
    index: int
    row: Row
    key: object
    length: int
    deadline: Deadline | None = None


class Waiting:
    """Rows in the order they came, and beside that by key and length.

    Rows whose callers have left are passed over, and forgotten when they are met.
    """

    def __init__(self) -> None:
        self._all: OrderedDict[Entry, None] = OrderedDict()
        self._alike: dict[tuple[object, int], OrderedDict[Entry, None]] = {}
        self._lengths: defaultdict[object, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all)

    def add(self, entry: Entry) -> None:
        """Add a row behind all others."""
        self._all[entry] = None
        kind = entry.key, entry.length
        if kind not in self._alike:
            self._alike[kind] = OrderedDict()
            insort(self._lengths[entry.key], entry.length)
        self._alike[kind][entry] = None

    def discard(self, entry: Entry) -> None:
        """Take a row out, if it still waits."""
        if self._all.pop(entry, _ABSENT) is _ABSENT:
            return
        kind = entry.key, entry.length
        del self._alike[kind][entry]
        if not self._alike[kind]:
            del self._alike[kind]
            lengths = self._lengths[entry.key]
            lengths.remove(entry.length)
            if not lengths:
                del self._lengths[entry.key]

    def oldest(self) -> Entry | None:
        """Return the row that has waited longest."""
        while self._all:
            entry = next(iter(self._all))
            if not entry.caller.left:
                return entry
            self.discard(entry)
        return None

    def after(self, first: Entry) -> Iterator[Entry]:
        """Yield the rows that may run with the first, in the order they came."""
        for entry in self._all:
            if entry is not first and entry.key == first.key and not entry.caller.left:
                yield entry

    def near(self, first: Entry) -> Iterator[Entry]:
        """Yield the rows that may run with the first, the nearest in length first."""
        lengths = self._lengths[first.key]
        above = bisect_left(lengths, first.length)
        below = above - 1
        while below >= 0 or above < len(lengths):
            shorter = first.length - lengths[below] if below >= 0 else float("inf")
            longer = lengths[above] - first.length if above < len(lengths) else float("inf")
            if shorter <= longer:
                length, below = lengths[below], below - 1
            else:
                length, above = lengths[above], above + 1
            for entry in self._alike[first.key, length]:
                if entry is not first and not entry.caller.left:
                    yield entry


_ABSENT = object()
