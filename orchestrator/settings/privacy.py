"""What the caller's settings say of labelled values, and of what may not leave at all."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from orchestrator.settings.values import Section

Reveal = Literal["audited", "forbidden"]
"""Whether `.reveal` may open a labelled value outside of where `.value` does."""


def _is_pattern(pattern: str) -> str:
    try:
        re.compile(pattern.encode())
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


class PrivacySettings(Section):
    """How labelled values are guarded, and what recognises private values in text.

    Attributes:
        reveal: Whether `.reveal` opens labelled values.
        scan: Patterns of texts that may go to no node whose clearance is public.
        recognisers: Their names; without names, everything that there is.
        patterns: Regular expressions of one's own, by kind.
        words: Words of one's own, by kind.
    """

    reveal: Reveal = "audited"
    scan: dict[str, Annotated[str, AfterValidator(_is_pattern)]] = Field(default_factory=dict)
    recognisers: tuple[str, ...] = ()
    patterns: dict[str, str] = Field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = Field(default_factory=dict)
