"""Servers as processes: started, waited for, put to sleep while it is not their turn, ended."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.bench.turns import CannotRunError
from orchestrator.bench.usage import family

_END_SECONDS = 10.0
_LAST_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        pid: Its first process.
        log: What it printed.
    """

    pid: int
    log: Path

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let a sleeping server run for a while."""
        self.wake()
        try:
            yield
        finally:
            self.sleep()

    def sleep(self) -> None:
        """Stop all its processes, so that what they do unasked disturbs nobody else's turn."""
        _tell(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let them go on."""
        _tell(self.pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str | Path],
    ready: Callable[[], Awaitable[bool]],
    patience: float = 60.0,
    env: Mapping[str, str] | None = None,
    poll: float = 0.05,
) -> AsyncIterator[Server]:
    """Run a server until the block ends; the block begins when it is ready.

    Args:
        command: What starts it.
        ready: Says whether it answers.
        patience: How many seconds it has until it answers.
        env: What to add to the environment.
        poll: How many seconds pass between two looks.

    Raises:
        CannotRunError: It cannot be started, ended, or did not answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        log = Path(folder, "log")
        process = _start(command, log, env or {})
        try:
            await _answering(process, ready, patience, log, poll)
            yield Server(process.pid, log)
        finally:
            await asyncio.to_thread(_end, process)


def _start(
    command: Sequence[str | Path], log: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        try:
            return subprocess.Popen(  # noqa: S603  our own command lines
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env={**os.environ, "TMPDIR": str(log.parent), **env},
            )
        except FileNotFoundError as error:
            raise CannotRunError(f"there is no {command[0]}: `make bench` builds it") from error
        except OSError as error:
            raise CannotRunError(f"cannot be started: {error}") from error


async def _answering(
    process: subprocess.Popen[bytes],
    ready: Callable[[], Awaitable[bool]],
    patience: float,
    log: Path,
    poll: float,
) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while process.poll() is None:
                if await ready():
                    return
                await asyncio.sleep(poll)
            raise CannotRunError(f"ended with {process.returncode}: {_last_words(log)}")
    raise CannotRunError(f"did not answer within {patience:.0f} s: {_last_words(log)}")


def _last_words(log: Path) -> str:
    lines = log.read_bytes()[-_LAST_BYTES:].decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it gently, then by force; its children are remembered, for they may outlive it."""
    everyone = family([process.pid])
    _signal(everyone, signal.SIGCONT)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    _signal(everyone, signal.SIGKILL)
    process.wait()


def _tell(pid: int, number: signal.Signals) -> None:
    _signal(family([pid]), number)


def _signal(pids: frozenset[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
