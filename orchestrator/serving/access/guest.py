"""A guest: one identity at a node, with what it may do and how much of it."""

import functools
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import AccessDenied, Overloaded, PrivacyRefused
from orchestrator.core.labels import label_of
from orchestrator.serving.access.bucket import TokenBucket
from orchestrator.serving.access.settings import Role

_KNOWN_SERVICES = 1024


class Guest:
    """What one identity may do at a node; all its sessions and calls share its limits.

    Of several roles it has the rights together, and of each limit the most generous; a role
    without a limit lifts it.

    Args:
        name: The identity.
        roles: Its roles, at least one.
        clock: A clock that never goes back, in seconds.
    """

    def __init__(self, name: str, roles: Sequence[Role], clock: Clock) -> None:
        self.name = name
        self.may_describe = any(role.describe for role in roles)
        self.may_read_metrics = any(role.metrics for role in roles)
        self.may_manage_models = any(role.manage_models for role in roles)
        globs = [glob for role in roles for glob in role.invoke]
        # A lookup a call: names repeat, and those that strangers make up push each other out.
        self.may_invoke = functools.lru_cache(_KNOWN_SERVICES)(
            lambda service: any(fnmatchcase(service, glob) for glob in globs)
        )
        self.inside = 0
        """Its calls in the node."""
        clearances = [role.clearance for role in roles]
        self._clearances = [] if None in clearances else [c for c in clearances if c]
        self._most = _most_generous([role.concurrency for role in roles])
        rate = _most_generous([role.calls_per_second for role in roles])
        bursts = [role.burst or role.calls_per_second for role in roles]
        burst = _most_generous(bursts)
        self._bucket = TokenBucket(rate, max(burst or rate, 1), clock) if rate else None

    def enter(self, service: str) -> None:
        """Count a call; whoever enters must leave.

        Raises:
            AccessDenied: It may not invoke that service.
            Overloaded: It has too many calls in the node, or made too many of late.
        """
        if not self.may_invoke(service):
            raise AccessDenied("no role of the caller may invoke that service", shareable=True)
        if self._most is not None and self.inside >= self._most:
            raise Overloaded(
                f"the caller has {self.inside} calls in the node, its limit", shareable=True
            )
        if self._bucket is not None and (seconds := self._bucket.take()):
            raise Overloaded(
                f"the caller has used up its calls: the next may come in {seconds:.3f} s",
                shareable=True,
            )
        self.inside += 1

    def leave(self) -> None:
        """Count a call no more."""
        self.inside -= 1

    def check_answer(self, value: Any) -> None:
        """Raise PrivacyRefused if an answer holds a label that no role of it is cleared for."""
        if not self._clearances:
            return
        label = label_of(value)
        if not any(clearance.covers(label) for clearance in self._clearances):
            raise PrivacyRefused(
                f"the answer is labelled {label}, above what the caller is cleared for",
                shareable=True,
            )

    def check_describe(self) -> None:
        """Raise AccessDenied if it may not read the node's reports."""
        if not self.may_describe:
            raise AccessDenied("no role of the caller may read reports", shareable=True)


def _most_generous(limits: Sequence[float | None]) -> float | None:
    """Return the highest limit; None, which is no limit, is above all."""
    found = [limit for limit in limits if limit is not None]
    return max(found) if len(found) == len(limits) else None
