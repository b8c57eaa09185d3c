"""What the caller's settings say of the audit log: where it is, and where its head is anchored."""

from pathlib import Path

from pydantic import Field, model_validator

from orchestrator.settings.values import Section


class AuditSettings(Section):
    """The audit log; without a path, only the program's own log is told."""

    path: Path | None = None
    key: Path | None = None
    anchor: Path | None = None
    anchor_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> "AuditSettings":
        check_audit(self.path, self.key, self.anchor)
        return self


def check_audit(path: Path | None, key: Path | None, anchor: Path | None) -> None:
    """Raise ValueError unless there is a log where something speaks of one, and files differ."""
    named = [place for place in (path, key, anchor) if place]
    if named and path is None:
        raise ValueError("a key or an anchor belongs to an audit log: give its path, too")
    if len(set(named)) < len(named):
        raise ValueError("the audit log, its key and its anchor are three different files")
