"""A client of a node that leaves out the library above its sessions."""

from typing import Any

from orchestrator.core.deadline import Deadline
from orchestrator.core.errors import EndpointUnavailable
from orchestrator.wire.connection import CLIENT_OPTIONS, Connection
from orchestrator.wire.frames import SESSION
from orchestrator.wire.guard import MAX_CALL_BYTES
from orchestrator.wire.session import Session
from orchestrator.wire.unary import longest_message

_SECONDS = 30.0


class SessionClient:
    """Sends bytes over a session: no service, call, decision, label or metric.

    Args:
        address: Where the other end listens.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection = Connection(address, None, CLIENT_OPTIONS)
        self._session: Session | None = None

    async def ready(self) -> bool:
        """Open the session once there is a connection, and say whether there is."""
        try:
            channel = await self._connection.ready(0.5)
        except EndpointUnavailable:
            return False
        stream: Any = channel.stream_stream(SESSION)()
        self._session = Session(stream, self._address, longest_message(MAX_CALL_BYTES))
        return True

    async def echo(self, text: str) -> bytes:
        """Send a text and return what came back."""
        if self._session is None:
            raise EndpointUnavailable("the session is not open")
        return await self._session.call(text.encode(), Deadline.after(_SECONDS))

    async def aclose(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.aclose()
        await self._connection.aclose()
