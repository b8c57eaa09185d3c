"""Attaching: a node that dials an orchestrator, serves its calls, and dials again."""

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from orchestrator.core.context import CallHandler
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import CallError, SettingsError
from orchestrator.resilience.retry import backoff
from orchestrator.serving.access.access import Access, Credentials
from orchestrator.serving.access.guarded import GuardedNode
from orchestrator.serving.exchange import Exchange
from orchestrator.serving.failures import frames_of
from orchestrator.serving.node import Node
from orchestrator.serving.session import NodeSession
from orchestrator.wire.attaching import Replaced, attached_to
from orchestrator.wire.guard import MAX_CALL_BYTES
from orchestrator.wire.security import TlsFiles, client_credentials, is_local
from orchestrator.wire.unary import longest_message

_log = logging.getLogger("isthmus.node")

_BASE_SECONDS, _MOST_SECONDS = 0.5, 5.0
"""The longest pause after the first failure, and of all."""

_REPLACED_SECONDS = 60.0
"""The pause after another node took the place: at once, the two would throw each other out."""

_STEADY_SECONDS = 10.0
"""A session that lasted so long was none of a row of failures."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node attaches.

    Attributes:
        address: Where the orchestrator listens: "host:port" or "unix:/path".
        tls: The node's certificate, and who signs the orchestrator's; None is plaintext.
        insecure: Whether plaintext was asked for outside of this machine.
    """

    address: str
    tls: TlsFiles | None = None
    insecure: bool = False

    def check(self) -> None:
        """Raise SettingsError if a TLS file is no good, or plaintext goes out unasked."""
        if self.tls:
            client_credentials(self.tls)
        elif not self.insecure and not is_local(self.address):
            raise SettingsError(
                f"{self.address} is another machine's: give --tls-cert, --tls-key and --tls-ca, or "
                "say --insecure (the node then gets public data only)"
            )


class Attachment:
    """Keeps a node attached to one orchestrator; use it on one event loop only.

    Args:
        node: The node; it may still be starting.
        place: Where it attaches.
        source: Spreads the attempts, so that nodes do not come back all at once.
        max_bytes: The most that one call may carry.
        clock: Tells how long a session lasted.
        access: Who may do what; an orchestrator is the host of its address, as TLS has verified.
            None lets it do everything.
    """

    def __init__(
        self,
        node: Node,
        place: Place,
        source: random.Random,
        max_bytes: int = MAX_CALL_BYTES,
        clock: Clock = time.monotonic,
        access: Access | None = None,
    ) -> None:
        self._access = access
        self._node = node
        self._place = place
        self._source = source
        self._exchange = Exchange(node, max_bytes, clock)
        self._longest = longest_message(max_bytes)
        self._clock = clock
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    def start(self) -> None:
        """Begin to attach; raise SettingsError if the place is refused."""
        self._place.check()
        if self._access and self._place.tls is None:
            raise SettingsError(
                f"with --access the orchestrator at {self._place.address} has to prove who it is: "
                "give --tls-cert, --tls-key and --tls-ca"
            )
        self._task = asyncio.create_task(self._run(), name=f"attach to {self._place.address}")

    async def stop(self, grace: float) -> None:
        """End the session in order; calls still inside have so many seconds until they are cut."""
        self._closing.set()
        if self._task:
            await asyncio.wait({self._task}, timeout=grace)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began, pause = self._clock(), 0.0
            try:
                await self._serve()
            except Replaced as error:
                self._say(str(error))
                pause = _REPLACED_SECONDS
            except (CallError, SettingsError) as error:
                self._say(str(error))
            except Exception as error:
                self._say(f"{type(error).__name__} at {frames_of(error)}")
            failures = 1 if self._clock() - began > _STEADY_SECONDS else failures + 1
            chance = self._source.random()
            pause += backoff(failures, chance, _BASE_SECONDS, _MOST_SECONDS)
            await self._sleep(pause)

    async def _serve(self) -> None:
        """Serve one session to its end; raise CallError unless this node has ended it."""
        place, handler = self._place, self._handler()
        async with attached_to(place.address, place.tls, handler, self._closing.set) as stream:
            _log.info("node %s is attached to %s", self._node.name, place.address)
            self._said = ""
            session = NodeSession(self._exchange, stream, self._longest, handler=handler)
            await session.run(self._closing)
            if not self._closing.is_set():
                raise await stream.reason()
            await stream.finish()

    def _handler(self) -> CallHandler:
        """Return what takes the orchestrator's calls; raise AccessDenied if it has no role here."""
        if self._access is None:
            return self._node
        host = self._place.address.rpartition(":")[0].strip("[]")
        guest = self._access.visit(Credentials([host])).guest
        guest.check_describe()  # a node that is attached reports
        return GuardedNode(self._node, guest)

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless the node ends."""
        waiting = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()

    def _say(self, reason: str) -> None:
        """Log why it is not attached: once, not at every attempt."""
        if reason != self._said:
            _log.warning("node %s is not attached: %s", self._node.name, reason)
            self._said = reason
