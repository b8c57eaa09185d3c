"""The router: a call's Decision from the facts of this moment."""

from collections.abc import Mapping

from orchestrator.core.call import Call
from orchestrator.core.errors import NoRoute, PrivacyRefused
from orchestrator.routing.directory import Directory
from orchestrator.routing.endpoint import Endpoint
from policies.chain import Chain
from policies.facts import CallFacts, Decision, Tier


class Router:
    """Decides where a call may go.

    Args:
        directory: The endpoints.
        chain: The policies.
        missing: For each tier without a node, what would give it one.
    """

    def __init__(
        self, directory: Directory, chain: Chain, missing: Mapping[Tier, str] | None = None
    ) -> None:
        self._directory = directory
        self._chain = chain
        self._missing = missing or {}

    def decide(self, call: Call, payload_bytes: int) -> Decision:
        """Return the endpoints a call may use, best first; at least one.

        Raises:
            PrivacyRefused: Privacy alone keeps the call from every node of its tiers.
            NoRoute: No endpoint passed, for the reasons in the decision.
        """
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
