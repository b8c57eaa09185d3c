"""All settings of the caller's side, and where they are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from orchestrator.settings.nodes import ListenSettings, NodeEntry, check_attached
from orchestrator.settings.privacy import PrivacySettings
from orchestrator.settings.values import Section, SharedMemoryMib
from orchestrator.sources import load
from policies.catalog import DEFAULT_FILTERS, DEFAULT_SCORERS


class PolicySettings(Section):
    """Which rules decide; privacy and tier always do."""

    filters: tuple[str, ...] = DEFAULT_FILTERS
    scorers: tuple[str, ...] = DEFAULT_SCORERS
    ms_per_dollar: float = Field(default=200.0, ge=0, allow_inf_nan=False)


class ModelSettings(Section):
    """Where the models of an embedded edge and cloud are."""

    store: Path = Path("models")


class Settings(Section):
    """The caller's side. Without nodes, an edge and a cloud are embedded in the process."""

    nodes: tuple[NodeEntry, ...] = ()
    listen: ListenSettings | None = None
    policies: PolicySettings = PolicySettings()
    models: ModelSettings = ModelSettings()
    max_call_mib: int = Field(default=80, ge=1, le=1024)
    shared_memory_mib: SharedMemoryMib = 128
    privacy: PrivacySettings = PrivacySettings()

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        names = [node.name for node in self.nodes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two nodes are named {', '.join(sorted(twice))}: names must differ")
        check_attached([node for node in self.nodes if node.attach], self.listen)
        return self


def load_settings(path: Path | None = None, given: Mapping[str, Any] | None = None) -> Settings:
    """Return the caller's settings: what is given > ISTHMUS_* environment > file > defaults.

    Raises:
        SettingsError: The file cannot be read, or a key or value in any source is wrong.
    """
    return load(Settings, "ISTHMUS_", path, given or {}, apart="ISTHMUS_NODE_")
