"""A channel that follows its files: certificates and tokens are renewed without a failed call."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.core.call import Call, Chunks, Reply
from orchestrator.core.errors import CallError, SettingsError
from orchestrator.core.report import NodeReport
from orchestrator.wire.channel import Channel

_log = logging.getLogger("isthmus.caller")

LOOK_SECONDS = 1.0
"""Between two looks at the files."""


class _Held:
    """A channel, and how many use it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._users = 0
        self._free = asyncio.Event()

    def enter(self) -> None:
        self._users += 1

    def leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._free.set()

    async def end(self) -> None:
        """Close the channel once nobody uses it any more."""
        while self._users:
            self._free.clear()
            await self._free.wait()
        await self.channel.aclose()


class _Counted:
    """The values of a stream, whose user leaves at its end, however that comes."""

    def __init__(self, chunks: Chunks, held: _Held) -> None:
        self._chunks = chunks
        self._held: _Held | None = held

    async def __anext__(self) -> Any:
        try:
            return await self._chunks.__anext__()
        except BaseException:
            self._leave()
            raise

    async def aclose(self) -> None:
        """End the stream early."""
        try:
            await self._chunks.aclose()
        finally:
            self._leave()

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.leave()


class RenewedChannel:
    """Sends calls over a channel that is made anew whenever a file of it changes.

    The new one takes calls once it has reached the node, and the old one ends when the last call
    on it has; until then nothing changes. Use it on one event loop only.

    Args:
        make: Makes a channel from the files as they are.
        files: The files.
        name: Where it leads, for the log.
        interval: Seconds between two looks at the files.

    Raises:
        SettingsError: A file is no good.
    """

    def __init__(
        self,
        make: Callable[[], Channel],
        files: Iterable[Path],
        name: str,
        interval: float = LOOK_SECONDS,
    ) -> None:
        self._make = make
        self._files = tuple(files)
        self._name = name
        self._interval = interval
        self._read = self._contents()
        self._held = _Held(make())
        self._looking: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def send(self, call: Call) -> Reply:
        """Send a call and return the answer; see `Channel.send`."""
        held = self._use()
        try:
            reply = await held.channel.send(call)
        except BaseException:
            held.leave()
            raise
        if not call.stream:
            held.leave()
            return reply
        chunks: Chunks = reply.value
        return Reply(Chunks(_Counted(chunks, held), lambda: chunks.timings))

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""
        held = self._use()
        try:
            return await held.channel.describe()
        finally:
            held.leave()

    async def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports, on the newest channel."""
        followed = False
        while not followed:
            held = self._use()
            reports = held.channel.watch(interval)
            try:
                async for report in reports:
                    yield report
                    if held is not self._held:
                        break
                else:
                    followed = True
            finally:
                await reports.aclose()
                held.leave()

    async def aclose(self) -> None:
        """Close the channel, and those that are ending; calls in flight end."""
        tasks = [task for task in (self._looking, *self._ending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._held.channel.aclose()

    def _use(self) -> _Held:
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name=f"files of {self._name}")
        self._held.enter()
        return self._held

    async def _look(self) -> None:
        said = ""
        while True:
            await asyncio.sleep(self._interval)
            contents = self._contents()
            if contents == self._read:
                continue
            try:
                await self._renew()
                self._read = contents
                said = ""
            except Exception as error:  # the task must look again whatever comes
                ours = isinstance(error, CallError | SettingsError)
                reason = str(error) if ours else type(error).__name__
                if said != reason:
                    said = reason
                    _log.warning("%s keeps its old files: %s", self._name, said)

    async def _renew(self) -> None:
        """Reach the node with the files as they are, and give calls that way from now on.

        Raises:
            SettingsError: They are no good, or half written.
            CallError: The node cannot be reached with them.
        """
        fresh = self._make()
        try:
            await fresh.describe()
        except BaseException:
            await fresh.aclose()
            raise
        old, self._held = self._held, _Held(fresh)
        _log.info("%s uses its new files", self._name)
        ending = asyncio.create_task(self._end(old), name=f"the old way to {self._name}")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end(self, old: _Held) -> None:
        try:
            await old.end()
        except asyncio.CancelledError:
            await old.channel.aclose()
            raise

    def _contents(self) -> list[bytes | None]:
        return [_content(file) for file in self._files]


def _content(file: Path) -> bytes | None:
    with suppress(OSError):
        return file.read_bytes()
    return None
