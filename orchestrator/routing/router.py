"""The router: a call's Decision from the facts of this moment."""

import time
from collections.abc import Mapping

from orchestrator.core.call import Call
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import NoRoute, PrivacyRefused
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint
from orchestrator.routing.shared import SharedDecision
from policies.chain import Chain
from policies.facts import CallFacts, Decision, Level, Spread, Tier

_Kind = tuple[str, str, Level, frozenset[str], Tier, Spread, int]
"""Service, version, label, placement and bits of the size of calls that share a Decision.

One by one: to hash a label takes longer than all of these.
"""

_MOST_SHARED = 1024


class Router:
    """Decides where a call may go.

    Args:
        directory: The endpoints.
        chain: The policies.
        missing: For each tier without a node, what would give it one.
        clock: Tells how long a Decision may be shared.
    """

    def __init__(
        self,
        directory: Directory,
        chain: Chain,
        missing: Mapping[Tier, str] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._directory = directory
        self._chain = chain
        self._missing = missing or {}
        self._clock = clock
        self._shared: dict[_Kind, SharedDecision] = {}
        self._members = -1

    def decide(self, call: Call, payload_bytes: int) -> Decision:
        """Return the endpoints a call may use, best first; at least one.

        Raises:
            PrivacyRefused: Privacy alone keeps the call from every node of its tiers.
            NoRoute: No endpoint passed, for the reasons in the decision.
        """
        if not self._chain.steady:
            return self._decide(call, payload_bytes)
        if self._members != self._directory.members or len(self._shared) > _MOST_SHARED:
            self._shared.clear()
            self._members = self._directory.members
        label, placement = call.label, call.placement
        kind = (
            call.service, call.version, label.level, label.categories, placement.home,
            placement.spread, payload_bytes.bit_length(),
        )  # fmt: skip
        shared, now = self._shared.get(kind), self._clock()
        if shared is not None and (known := shared.ranked(now, call.deadline.left() * 1e3)):
            return known
        decision = self._decide(call, payload_bytes)
        endpoints = self._directory.endpoints
        self._shared[kind] = SharedDecision(decision, self._chain, endpoints, now)
        return decision

    def _decide(self, call: Call, payload_bytes: int) -> Decision:
        facts = CallFacts(
            service=call.service,
            version=call.version,
            label=call.label,
            placement=call.placement,
            payload_bytes=payload_bytes,
            remaining_ms=call.deadline.left() * 1e3,
        )
        endpoints = self._directory.endpoints
        decision = self._chain.decide(facts, [e.facts(call.service) for e in endpoints])
        if decision.candidates:
            return decision
        hints = [hint for tier, hint in self._missing.items() if call.placement.allows(tier)]
        said = "\n".join([f"no node can take {call.service}", decision.explain(), *hints])
        kind = PrivacyRefused if decision.refused_by_privacy else NoRoute
        raise kind(said, call_id=call.id, decision=decision)

    def endpoint(self, name: str) -> Endpoint | None:
        """Return a candidate's endpoint, if it is still there."""
        return self._directory.find(name)
