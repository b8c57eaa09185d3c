"""What a caller writes down of labelled calls: where each attempt goes, and what was refused."""

from contextlib import suppress
from typing import Any

from orchestrator.core.audit import Audit, Decided, Refused, kept
from orchestrator.core.call import Call
from orchestrator.core.errors import CallError, PrivacyRefused
from policies.facts import Decision


class CallerAudit:
    """Writes down what happens to labelled calls at the caller, and waits until that is safe.

    Args:
        audit: Takes the events.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    async def decided(self, call: Call, decision: Decision, node: str) -> None:
        """Write down that an attempt is about to be sent, and why it may be.

        Raises:
            AuditUnavailable: It cannot be written down, so it must not be sent.
            DeadlineExceeded: That took too long.
        """
        if not self._audit.durable:
            return
        event = Decided(
            **named(call),
            node=node,
            attempt=call.attempt,
            candidates=tuple(candidate.name for candidate in decision.candidates),
            refused=_refusals(decision),
        )
        await kept(self._audit, event, call.deadline)

    async def refused(self, call: Call, error: PrivacyRefused) -> None:
        """Write down that privacy kept a call here, or that a node sent it back."""
        if not self._audit.durable:
            return
        event = Refused(
            **named(call),
            node=error.node,
            rule="node" if error.node else "privacy",
            refused=_refusals(error.decision) if error.decision else (),
        )
        with suppress(CallError):  # what was refused stays so
            await kept(self._audit, event, call.deadline)


def named(call: Call) -> dict[str, Any]:
    """Return what every event of a call says of it."""
    return {
        "call": call.id, "trace": call.trace, "service": call.service, "version": call.version,
        "label": call.label,
    }  # fmt: skip


def _refusals(decision: Decision) -> tuple[tuple[str, str], ...]:
    return tuple((verdict.endpoint, verdict.filter) for verdict in decision.refused)
