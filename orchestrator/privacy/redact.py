"""Masking private values in text, so that what is left may leave the edge."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.recognisers import Recogniser, find_all


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without its private values, and how many of each kind were masked."""

    text: str
    counts: dict[str, int]


def redact(text: str, recognisers: Sequence[Recogniser] | None = None) -> Redacted:
    """Return a text with every private value replaced by its kind, such as "[EMAIL]".

    Args:
        text: What may hold private values.
        recognisers: What finds them, the surest first; `default_recognisers` if none are given.
    """
    spans = find_all(text, default_recognisers() if recognisers is None else recognisers)
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], f"[{span.kind.upper()}]"]
        end = span.end
    return Redacted("".join([*parts, text[end:]]), dict(Counter(span.kind for span in spans)))
