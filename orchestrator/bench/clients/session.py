"""Clients of a node that leave out the library above its wire."""

from orchestrator.core.errors import EndpointUnavailable
from orchestrator.wire.guard import MAX_CALL_BYTES
from orchestrator.wire.session import Session
from orchestrator.wire.unary import UnaryChannel, longest_message
from policies.facts import Clearance, Level


class SessionClient:
    """Sends bytes over a session: no service, call, decision, label or metric.

    Args:
        address: Where the other end listens.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._plain = UnaryChannel(address, Clearance(Level.PUBLIC))
        self._session: Session | None = None

    async def ready(self) -> bool:
        """Open the session once there is a connection, and say whether there is."""
        try:
            stub = await self._plain.connected(0.5)
        except EndpointUnavailable:
            return False
        most = longest_message(MAX_CALL_BYTES)
        self._session = Session(stub.Session(), self._address, most)
        return True

    async def echo(self, text: str) -> bytes:
        """Send a text and return what came back."""
        if self._session is None:
            raise EndpointUnavailable("the session is not open")
        return await self._session.call(text.encode())

    async def aclose(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.aclose()
        await self._plain.aclose()
