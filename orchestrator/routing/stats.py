"""What replies teach about an endpoint: round trip, bandwidth, work and waiting by service."""

import time

from orchestrator.core.call import Timings
from orchestrator.core.deadline import Clock
from orchestrator.core.means import AgeingMean, DecayingMean, RecentMinimum

_LARGE = 64 * 1024
"""Payloads above this many bytes tell the bandwidth; smaller ones tell the round trip."""

_NETWORK_BYTES_PER_MS = 12_500.0  # 100 Mbit/s, until a large payload has told


class EndpointStats:
    """Estimates for one endpoint, in milliseconds and bytes per millisecond.

    Args:
        clock: Tells the age of an estimate.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._round_trip = RecentMinimum(clock)
        self._bytes_per_ms = DecayingMean()
        self._service: dict[str, AgeingMean] = {}
        self._delay: dict[str, AgeingMean] = {}
        self.waiting = 0

    @property
    def round_trip_ms(self) -> float:
        """Time on the network for an empty call."""
        return self._round_trip.value

    @property
    def bytes_per_ms(self) -> float:
        """Speed of the network for large payloads."""
        return self._bytes_per_ms.value or _NETWORK_BYTES_PER_MS

    def service_ms(self, service: str) -> float:
        """Return the work one call of a service takes there; 0 when nothing is known."""
        known = self._service.get(service)
        return known.value if known else 0.0

    def delay_ms(self, service: str) -> float | None:
        """Return by how much each call ahead delays one of a service; None when nobody knows."""
        known = self._delay.get(service)
        return known.value if known else None

    def saw_queue(self, service: str, milliseconds: float, ahead: int) -> None:
        """Learn how long a call waited for so many calls ahead of it, of whatever service."""
        mean = self._delay.get(service)
        if mean is None:
            mean = self._delay[service] = AgeingMean(self._clock)
        mean.add(milliseconds / max(ahead, 1))

    def saw_round_trip(self, milliseconds: float) -> None:
        """Learn from an empty call."""
        self._round_trip.add(milliseconds)

    def saw_timeout(self, service: str, milliseconds: float) -> None:
        """Learn from a call whose time ran out: its work takes at least so long."""
        self._service_mean(service).add(milliseconds)

    def saw_reply(
        self, service: str, total_ms: float, payload_bytes: int, timings: Timings
    ) -> None:
        """Learn from a reply.

        Args:
            service: The service called.
            total_ms: From sending to the answer.
            payload_bytes: About how many bytes travelled.
            timings: What the node measured.
        """
        self.waiting = timings.waiting
        self._service_mean(service).add(timings.service_ms)
        network_ms = max(total_ms - timings.node_ms, 0.0)
        if payload_bytes < _LARGE:
            self._round_trip.add(network_ms)
        elif network_ms > self.round_trip_ms:
            self._bytes_per_ms.add(payload_bytes / (network_ms - self.round_trip_ms))

    def _service_mean(self, service: str) -> AgeingMean:
        if service not in self._service:
            self._service[service] = AgeingMean(self._clock)
        return self._service[service]
