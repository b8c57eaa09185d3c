"""What replies teach about an endpoint: round trip, bandwidth, work and waiting by service."""

import math
import time

from orchestrator.core.call import Timings
from orchestrator.core.deadline import Clock
from orchestrator.core.means import AgeingMean, DecayingMean, RecentMinimum

_LARGE = 64 * 1024
"""Payloads above this many bytes tell the bandwidth; smaller ones tell the round trip."""

_TOGETHER, _SECONDS = 16, 0.01
"""Replies, and the seconds in which they came, that become estimates together."""

_NETWORK_BYTES_PER_MS = 12_500.0  # 100 Mbit/s, until a large payload has told


class _Fresh:
    """What the replies of one service have told since the estimates were last asked for."""

    __slots__ = ("delay_ms", "replies", "service_ms", "since", "waited")

    def __init__(self, since: float) -> None:
        self.since = since
        self.replies = self.waited = 0
        self.service_ms = self.delay_ms = 0.0


class EndpointStats:
    """Estimates for one endpoint, in milliseconds and bytes per millisecond.

    A reply only adds to sums, which become estimates after some replies or milliseconds, or when
    somebody asks.

    Args:
        clock: Tells the age of an estimate.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._round_trip = RecentMinimum(clock)
        self._bytes_per_ms = DecayingMean()
        self._service: dict[str, AgeingMean] = {}
        self._delay: dict[str, AgeingMean] = {}
        self._fresh: dict[str, _Fresh] = {}
        self._least = math.inf
        self.waiting = 0

    @property
    def round_trip_ms(self) -> float:
        """Time on the network for an empty call."""
        self._learn_round_trip()
        return self._round_trip.value

    @property
    def bytes_per_ms(self) -> float:
        """Speed of the network for large payloads."""
        return self._bytes_per_ms.value or _NETWORK_BYTES_PER_MS

    def service_ms(self, service: str) -> float:
        """Return the work one call of a service takes there; 0 when nothing is known."""
        self._learn(service)
        known = self._service.get(service)
        return known.value if known else 0.0

    def delay_ms(self, service: str) -> float | None:
        """Return by how much each call ahead delays one of a service; None when nobody knows."""
        self._learn(service)
        known = self._delay.get(service)
        return known.value if known else None

    def saw_queue(self, service: str, milliseconds: float, ahead: int) -> None:
        """Learn how long a call waited for so many calls ahead of it, of whatever service."""
        fresh = self._fresh_of(service)
        fresh.waited += 1
        fresh.delay_ms += milliseconds / (ahead or 1)

    def saw_round_trip(self, milliseconds: float) -> None:
        """Learn from an empty call."""
        self._learn_round_trip()
        self._round_trip.add(milliseconds)

    def saw_timeout(self, service: str, milliseconds: float) -> None:
        """Learn from a call whose time ran out: its work takes at least so long."""
        fresh = self._fresh_of(service)
        fresh.replies += 1
        fresh.service_ms += milliseconds

    def saw_reply(
        self,
        service: str,
        total_ms: float,
        payload_bytes: int,
        timings: Timings,
        waited_ms: float | None = None,
        ahead: int = 1,
    ) -> None:
        """Learn from a reply.

        Args:
            service: The service called.
            total_ms: From sending to the answer.
            payload_bytes: About how many bytes travelled.
            timings: What the node measured.
            waited_ms: How long the call waited, before it was sent and at the node.
            ahead: For how many calls of whatever service it waited.
        """
        self.waiting = timings.waiting
        fresh = self._fresh_of(service)
        fresh.replies += 1
        fresh.service_ms += timings.service_ms
        if waited_ms is not None:
            fresh.waited += 1
            fresh.delay_ms += waited_ms / (ahead or 1)
        network_ms = total_ms - timings.node_ms
        if network_ms < 0.0:
            network_ms = 0.0
        if payload_bytes < _LARGE:
            if network_ms < self._least:
                self._least = network_ms
        elif network_ms > (round_trip_ms := self.round_trip_ms):
            self._bytes_per_ms.add(payload_bytes / (network_ms - round_trip_ms))

    def _fresh_of(self, service: str) -> _Fresh:
        fresh, now = self._fresh.get(service), self._clock()
        if fresh is not None and (fresh.replies >= _TOGETHER or now - fresh.since > _SECONDS):
            self._learn(service)
            self._learn_round_trip()
            fresh = None
        if fresh is None:
            fresh = self._fresh[service] = _Fresh(now)
        return fresh

    def _learn_round_trip(self) -> None:
        if self._least < math.inf:
            self._round_trip.add(self._least)
            self._least = math.inf

    def _learn(self, service: str) -> None:
        fresh = self._fresh.pop(service, None)
        if fresh is None:
            return
        if fresh.replies:
            self._mean(self._service, service).add(
                fresh.service_ms / fresh.replies, fresh.replies, fresh.since
            )
        if fresh.waited:
            self._mean(self._delay, service).add(
                fresh.delay_ms / fresh.waited, fresh.waited, fresh.since
            )

    def _mean(self, means: dict[str, AgeingMean], service: str) -> AgeingMean:
        if service not in means:
            means[service] = AgeingMean(self._clock)
        return means[service]
