"""What a session stands on: a way to open its stream, and to hear how the node is."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from orchestrator.core.report import NodeReport
from orchestrator.wire.session import MessageStream


class Link(Protocol):
    """The way to one node below its sessions: dialled by the caller, or by the node."""

    async def opener(self, seconds: float) -> Callable[[], MessageStream]:
        """Return what opens the stream of a new session, once there is a connection.

        Raises:
            EndpointUnavailable: There is none in so many seconds; nothing was sent.
        """

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""

    def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports: one at once, one on every change, one an interval."""

    async def aclose(self) -> None:
        """Close the link; streams on it end."""
