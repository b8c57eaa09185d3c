"""The caller of a node that was given no orchestrator: bodies call services of their own node."""

import random
import time
from typing import Any

from orchestrator.core.call import Call, Result
from orchestrator.core.deadline import Clock
from orchestrator.core.errors import NoRoute
from orchestrator.core.spec import Declaration
from orchestrator.serving.node import Node
from orchestrator.wire.inprocess import InProcessChannel
from policies.facts import PUBLIC, CallFacts, Candidate, Decision, EndpointFacts


class LocalCaller:
    """Takes the calls of a node's own bodies and runs them on the same node.

    Args:
        node: The node.
        clock: Its clock.
        source: Where call ids come from.
    """

    def __init__(
        self, node: Node, clock: Clock = time.monotonic, source: random.Random | None = None
    ) -> None:
        self._node = node
        self._channel = InProcessChannel(node, node.clearance)
        self.home = node.home
        self.audit = node.audit
        self.reveal_allowed = node.reveal_allowed
        self.clock = clock
        self.random = source or random.SystemRandom()

    def is_prepared(self, declaration: Declaration) -> bool:
        """Say yes: a daemon serves what its app declared when it started."""
        return True

    async def prepare(self, declaration: Declaration) -> None:
        """Do nothing."""

    async def invoke(self, call: Call) -> Result[Any]:
        """Run a call on this node.

        Raises:
            NoRoute: The service never runs on this tier.
        """
        node, started = self._node, self.clock()
        stays = call.privacy == "local" and node.tier == "edge" and call.label != PUBLIC
        if not (stays or call.placement.allows(node.tier)):
            raise NoRoute(
                f"{call.service} runs on the {call.placement.home}, and this {node.tier} node "
                "knows no orchestrator: start it with --app module:attribute, naming one",
                call_id=call.id,
                shareable=True,
            )
        reply = await self._channel.send(call)
        facts = CallFacts(call.service, call.version, call.label, call.placement, 0, 0.0)
        here = Candidate(EndpointFacts(node.name, node.tier, node.clearance), True, 0.0)
        return Result(
            value=reply.value,
            tier=node.tier,
            node=node.name,
            label=call.label,
            decision=Decision(facts, (here,), ()),
            timings=reply.timings,
            total_ms=(self.clock() - started) * 1e3,
            attempts=(node.name,),
            call_id=call.id,
        )
