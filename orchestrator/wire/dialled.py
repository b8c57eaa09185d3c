"""The channel over a session, whichever side has dialled it: the usual way to a node."""

from collections.abc import AsyncGenerator

import grpc

from orchestrator.core.call import Call, Reply
from orchestrator.core.report import NodeReport
from orchestrator.wire.connection import CONNECT_SECONDS
from orchestrator.wire.guard import MAX_CALL_BYTES, Scanner, let_out
from orchestrator.wire.link import Link
from orchestrator.wire.memory import SHARED_BYTES, shared_memory
from orchestrator.wire.nearby import NearbyLink
from orchestrator.wire.security import is_local
from orchestrator.wire.session import Session
from orchestrator.wire.unary import UnaryChannel, longest_message
from policies.facts import Clearance


class SessionChannel:
    """Sends calls to a node over a session; use it on one event loop only.

    The session is opened with the first call, and again with the next call after it has ended.

    Args:
        address: Where the node listens: "host:port" or "unix:/path".
        clearance: The most private data it may receive.
        credentials: TLS; None is plaintext.
        identity: The name its certificate must bear, if not the host of the address.
        max_bytes: The most that one call may carry.
        link: Opens sessions and tells how the node is; by default gRPC to the address, and for
            the sessions to a node on this machine its socket.
        shared_bytes: The most it shares with a node on this machine; 0 is nothing.
        session_socket: Whether sessions to a node on this machine go over the node's own socket.
        scanner: Looks at what goes to a public place; see `let_out`.
        token: Shown when a session is opened; empty is none.
    """

    def __init__(
        self,
        address: str,
        clearance: Clearance,
        credentials: grpc.ChannelCredentials | None = None,
        identity: str = "",
        max_bytes: int = MAX_CALL_BYTES,
        link: Link | None = None,
        shared_bytes: int = SHARED_BYTES,
        session_socket: bool = True,
        scanner: Scanner | None = None,
        token: str = "",
    ) -> None:
        self._address = address
        self._clearance = clearance
        self._max_bytes = max_bytes
        self._scanner = scanner
        self._shared_bytes = shared_bytes if is_local(address) else 0
        if link is None:
            link = UnaryChannel(address, clearance, credentials, identity, max_bytes, token=token)
            if session_socket and credentials is None and is_local(address):
                link = NearbyLink(link)
        self._link = link
        self._session: Session | None = None

    async def send(self, call: Call) -> Reply:
        """Send a call and return the answer; see `Channel.send`."""
        packed = let_out(call, self._clearance, self._max_bytes, self._scanner)
        session = self._session
        if session is None or session.ended:
            session = await self._open(min(CONNECT_SECONDS, call.deadline.left()))
        return await session.send(call, packed)

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""
        return await self._link.describe()

    def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports."""
        return self._link.watch(interval)

    async def aclose(self) -> None:
        """Close the channel; calls in flight end with EndpointUnavailable."""
        if self._session is not None:
            await self._session.aclose()
        await self._link.aclose()

    async def _open(self, seconds: float) -> Session:
        opened = await self._link.opener(seconds)
        if self._session is None or self._session.ended:  # another call may have been faster
            most = longest_message(self._max_bytes)
            memory = shared_memory(self._shared_bytes, most)
            self._session = Session(opened(), self._address, most, memory)
        return self._session
