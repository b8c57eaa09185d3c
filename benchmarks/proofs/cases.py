"""The attacks of peers that mean harm: what each may take, and what is known to be missing."""

from dataclasses import dataclass

from benchmarks.proofs.hostile_caller import MAX_CALL_MIB, MAX_IN_FLIGHT
from orchestrator.wire.frames import BESIDE_BYTES

_SESSION_MIB = 32
"""One body under way, a full outbox, and what gRPC keeps: what one session may take."""

_NODE_BODIES_MIB = 8 * (MAX_CALL_MIB + BESIDE_BYTES // 2**20) + _SESSION_MIB
"""Bodies under way in all sessions of a node, and what one session takes besides."""

_PLACES = (
    "one session may hold every place of the node, under deadlines as far as it likes. "
    "Needed: a session's share of Admission below the whole, and a longest deadline."
)


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a peer may harm another.

    Attributes:
        name: What the hostile peer does.
        most_mib: How much its victim may grow meanwhile, by its limits.
        unbounded: Why it is known to grow further; empty if it is not.
        starves: Why others are known not to be served meanwhile; empty if they are.
        stream: Whether the victim of a node asks for a stream.
        patience: How many times the usual time it is given.
    """

    name: str
    most_mib: float = _SESSION_MIB
    unbounded: str = ""
    starves: str = ""
    stream: bool = False
    patience: int = 1


BY_CALLERS = (
    Case("unread stream"),
    Case("unread streams"),
    Case("unread results", 3 * MAX_IN_FLIGHT),
    Case("endless body"),
    Case("half bodies", _NODE_BODIES_MIB),
    Case("many bodies", _SESSION_MIB + BESIDE_BYTES // 2**20),
    Case("many heads"),
    Case("many calls", starves=_PLACES),
    Case("huge claims"),
    Case("long messages", 40 * MAX_CALL_MIB),
    Case("idle words"),
    Case("far deadlines", 2),
)

BY_NODES = (
    Case("empty chunks", 12, stream=True, patience=3),
    Case("beyond credit", stream=True),
    Case("endless body"),
    Case("strange answers"),
    Case("huge claim"),
    Case("silence"),
)
