"""Forgetting a person: every store that keeps data of subjects can be asked to drop it."""

import logging
from typing import Protocol

from orchestrator.core.audit import Audit, Erased, keep
from orchestrator.core.errors import UsageError

_audit = logging.getLogger("isthmus.audit")


class Forgets(Protocol):
    """A store that keeps data, and can forget a subject: a cache, jobs, the vault."""

    def forget(self, subject: str) -> int:
        """Drop all that is kept of a subject; return how many entries that was.

        Whatever is not dropped must raise: a store that cannot be reached has forgotten nothing.
        """


class Stores:
    """The stores that keep data of subjects, by name."""

    def __init__(self) -> None:
        self._stores: dict[str, Forgets] = {}

    def add(self, name: str, store: Forgets) -> None:
        """Add a store; raises UsageError if another has its name."""
        if self._stores.setdefault(name, store) is not store:
            raise UsageError(f"there is a store named {name!r} already: give this one another name")

    def forget(self, subject: str, audit: Audit) -> dict[str, int]:
        """Ask every store to forget a subject, and return how many entries each has dropped.

        Args:
            subject: Whom to forget.
            audit: Is told of each store by a keyed digest of the subject.

        Raises:
            UsageError: The subject is empty.
            AuditUnavailable: All have forgotten, and it cannot be written down.
            ExceptionGroup: Some stores failed, each noted by name; all others have forgotten.
        """
        if not subject:
            raise UsageError("an empty subject is nobody: say whom to forget")
        counts: dict[str, int] = {}
        failures: list[Exception] = []
        for name, store in list(self._stores.items()):
            try:
                counts[name] = store.forget(subject)
            except Exception as error:
                error.add_note(f"raised by the store {name!r}")
                failures.append(error)
        missed = sorted(self._stores.keys() - counts.keys())
        _audit.info("a subject was forgotten: entries %s, failed %s", counts, missed)
        for name, count in counts.items():
            keep(audit, Erased(store=name, digest=audit.digest(subject), count=count))
        if failures:
            raise ExceptionGroup(f"not forgotten everywhere: {', '.join(missed)} failed", failures)
        return counts
