"""What the caller's settings say of finding private values."""

from pydantic import Field

from orchestrator.settings.values import Section


class PrivacySettings(Section):
    """What recognises private values; without names, everything that there is."""

    recognisers: tuple[str, ...] = ()
    patterns: dict[str, str] = Field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = Field(default_factory=dict)
