"""What a channel is: the way to one node."""

from collections.abc import AsyncGenerator
from typing import Protocol

from orchestrator.core.call import Call, Reply
from orchestrator.core.report import NodeReport


class Channel(Protocol):
    """Brings calls to one node; every implementation passes the guard first."""

    async def send(self, call: Call) -> Reply:
        """Send a call and return the answer; cancelling the task cancels the call there.

        Raises:
            CallError: The call was refused, could not be sent, or failed.
        """

    async def describe(self) -> NodeReport:
        """Ask the node what it is and how busy."""

    def watch(self, interval: float) -> AsyncGenerator[NodeReport, None]:
        """Follow the node's reports: one at once, one on every change, one an interval."""

    async def aclose(self) -> None:
        """Close the channel; calls in flight end with EndpointUnavailable."""
