"""The audit log: events are enqueued, and one thread makes them safe in groups.

Group commit (DeWitt et al. 1984): while one fsync runs, others gather for the next one.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.audit import Audit, Digest, Event, LoggedAudit, log_event
from orchestrator.core.deadline import Clock
from orchestrator.core.digest import keyed_digest
from orchestrator.core.errors import AuditUnavailable
from orchestrator.telemetry.audit.anchor import check_anchor, write_anchor
from orchestrator.telemetry.audit.commits import Commits
from orchestrator.telemetry.audit.entries import Cut, Missed, facts_of, seal
from orchestrator.telemetry.audit.file import LogFile
from orchestrator.telemetry.audit.key import load_key

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_log = logging.getLogger("isthmus.audit")


@dataclass(frozen=True, slots=True)
class AuditPlace:
    """Where a log is kept.

    Attributes:
        path: Its file.
        key: The file of the key of its digests; by default beside it.
        anchor: Where its head is written down; nowhere if None.
        anchor_seconds: How often, at most.
    """

    path: Path
    key: Path | None = None
    anchor: Path | None = None
    anchor_seconds: float = 60.0


@dataclass(slots=True)
class _Waiting:
    """An event that is not safe yet."""

    facts: dict[str, Any]
    time: str
    since: float
    future: "Future[None] | asyncio.Future[None]"

    @property
    def goes_on(self) -> bool:
        """Whether somebody still waits; who gave up does not go on with what it speaks of."""
        if isinstance(self.future, Future):
            return self.future.set_running_or_notify_cancel()
        return not self.future.cancelled()


class AuditLog:
    """Keeps events in a file; use it as a context manager, which starts and ends its thread.

    Args:
        file: The file.
        key: The key of its digests.
        place: Where its anchor is, if it has one.
        wall: The time of day, in seconds since 1970.
        clock: A clock that never goes back, in seconds.
        group: The most entries of one fsync.
    """

    durable = True

    def __init__(
        self,
        file: LogFile,
        key: bytes,
        place: AuditPlace,
        wall: Callable[[], float] = time.time,
        clock: Clock = time.monotonic,
        group: int = 1024,
    ) -> None:
        self.commits = Commits()
        self.writable = True
        self._file = file
        self._head = self._anchored = file.head
        self._key = key
        self._place = place
        self._wall = wall
        self._clock = clock
        self._group = group
        self._news = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._closing = False
        self._missed = 0
        self._anchor_due = clock()
        self._anchor_well = True
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="isthmus-audit", daemon=True)

    def __enter__(self) -> "AuditLog":
        self._thread.start()
        if self._file.cut:
            self.record(Cut(count=self._file.cut))
        return self

    def __exit__(self, *error: object) -> None:
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join()
        self._file.close()

    def record(self, event: Event) -> Future[None]:
        """Take an event; the future ends when the disk has it, or with AuditUnavailable."""
        future: Future[None] = Future()
        self._take(event, future)
        return future

    def record_here(self, event: Event) -> "asyncio.Future[None]":
        """Do the same with a future of the running loop; all of a group end in one turn of it."""
        future = asyncio.get_running_loop().create_future()
        self._take(event, future)
        return future

    def _take(self, event: Event, future: "Future[None] | asyncio.Future[None]") -> None:
        log_event(event)
        waiting = _Waiting(facts_of(event), self._now(), self._clock(), future)
        with self._news:
            if self._closing or self._process != os.getpid():  # a fork inherits no threads
                future.set_exception(AuditUnavailable())
            else:
                self._waiting.append(waiting)
                self._news.notify()

    def digest(self, value: object) -> Digest:
        """Return the keyed digest of any value."""
        return keyed_digest(self._key, value)

    def metrics(self) -> "Iterator[Metric]":
        """Yield the Prometheus families."""
        return self.commits.families(self.writable)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="microseconds")

    def _run(self) -> None:
        """Commit whatever waits, until the end."""
        while True:
            with self._news:
                if not self._waiting and not self._closing:
                    self._news.wait(self._until_anchor())
                group, self._waiting = self._waiting[: self._group], self._waiting[self._group :]
                ends = self._closing and not group
            if group:
                self._commit([waiting for waiting in group if waiting.goes_on])
            self._write_anchor(at_once=ends)
            if ends:
                return

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            head, lines = self._head, []
            if self._missed:
                line, head = seal(facts_of(Missed(count=self._missed)), self._now(), head)
                lines.append(line)
            for waiting in group:
                line, head = seal(waiting.facts, waiting.time, head)
                lines.append(line)
            self._file.append(b"".join(lines))
        except Exception as error:  # the thread must outlive whatever a disk does
            self._failed(error, group)
            return
        self._head, self._missed = head, 0
        if not self.writable:
            self.writable = True
            _log.warning("audit log %s can be written again", self._file.path)
        now = self._clock()
        self.commits.committed([now - waiting.since for waiting in group])
        _end(group)

    def _failed(self, error: Exception, group: list[_Waiting]) -> None:
        if self.writable:
            self.writable = False
            said = error.strerror if isinstance(error, OSError) else type(error).__name__
            _log.error(
                "audit log %s cannot be written: %s. Labelled calls are refused until it can, and "
                "public calls go on: free space on its disk, or give another file",
                self._file.path,
                said,
            )
        self._missed += len(group)
        self.commits.refused += len(group)
        _end(group, AuditUnavailable)

    def _until_anchor(self) -> float | None:
        """Return for how many seconds there is nothing to do; None is for ever."""
        if self._place.anchor is None or self._anchored == self._head:
            return None
        return max(self._anchor_due - self._clock(), 0.0)

    def _write_anchor(self, *, at_once: bool) -> None:
        path, now = self._place.anchor, self._clock()
        if path is None or self._anchored == self._head or (now < self._anchor_due and not at_once):
            return
        self._anchor_due = now + self._place.anchor_seconds
        try:
            write_anchor(path, self._head, self._now())
        except OSError as error:
            if self._anchor_well:
                _log.error("audit anchor %s cannot be written: %s", path, error.strerror)
            self._anchor_well = False
        else:
            self._anchored, self._anchor_well = self._head, True


def _end(group: list[_Waiting], error: type[Exception] | None = None) -> None:
    """End all futures of a group, with one word to each loop.

    Each word wakes a loop, and the interpreter's lock would go back and forth with it.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiting in group:
        if isinstance(waiting.future, Future):
            _end_one(waiting.future, error)
        else:
            by_loop.setdefault(waiting.future.get_loop(), []).append(waiting.future)
    for loop, futures in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_end_all, futures, error)


def _end_all(futures: "list[asyncio.Future[None]]", error: type[Exception] | None) -> None:
    for future in futures:
        if not future.done():
            _end_one(future, error)


def _end_one(future: "Future[None] | asyncio.Future[None]", error: type[Exception] | None) -> None:
    if error:
        future.set_exception(error())
    else:
        future.set_result(None)


@contextmanager
def open_audit(place: AuditPlace | None, wall: Callable[[], float] = time.time) -> Iterator[Audit]:
    """Keep a log while the block runs; without a place, only tell the program's log.

    Raises:
        SettingsError: A file cannot be used, or the log and its anchor do not agree.
    """
    if place is None:
        yield LoggedAudit()
        return
    key = load_key(place.key or default_key(place.path))
    file = LogFile(place.path)
    try:
        if place.anchor:
            check_anchor(place.anchor, file)
    except BaseException:
        file.close()
        raise
    with AuditLog(file, key, place, wall) as log:
        yield log


def default_key(path: Path) -> Path:
    """Return where the key of a log is, unless it is said."""
    return path.with_name(f"{path.name}.key")
