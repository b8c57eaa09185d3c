"""Worker threads that never keep the process from ending."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_IDLE_SECONDS = 30.0


async def in_daemon_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run work in a thread of its own, as asyncio.to_thread does, but never wait for its end."""
    run = contextvars.copy_context().run
    return await asyncio.wrap_future(DaemonThreads("isthmus-thread").submit(run, work, *arguments))


class DaemonThreads:
    """Runs work in threads that are kept for a while and used again.

    The standard pool's threads are waited for when the interpreter ends, so that one body or
    one model that hangs would keep a node alive after its drain.

    Args:
        name: What its threads are called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = 0

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run work in an idle thread, or in a new one."""
        future: Future[T] = Future()
        with self._lock:
            idle, self._idle = self._idle, max(self._idle - 1, 0)
        self._work.put(partial(_run, future, work, arguments))
        if not idle:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            try:
                self._work.get(timeout=_IDLE_SECONDS)()
            except Empty:
                with self._lock:
                    if self._idle and self._work.empty():
                        self._idle -= 1
                        return
            else:
                with self._lock:
                    self._idle += 1


def _run(future: Future[T], work: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    """Do some work, unless it was cancelled, and keep what came of it."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work(*arguments))
    except StopIteration:  # no future can hold it: whoever waits would wait for ever
        future.set_exception(RuntimeError("StopIteration"))
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future, work, arguments  # an error would keep this frame, and with it all of them
