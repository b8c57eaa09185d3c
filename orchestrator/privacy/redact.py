"""Masking private values in text, so that what is left may leave the edge."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.privacy.recognisers import DEFAULT, Recogniser, Span


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without its private values, and how many of each kind were masked."""

    text: str
    counts: dict[str, int]


def redact(text: str, recognisers: Sequence[Recogniser] = DEFAULT) -> Redacted:
    """Return a text with every private value replaced by its kind, such as "[EMAIL]".

    Args:
        text: What may hold private values.
        recognisers: What finds them; where two overlap all is masked, under the earlier's name.
    """
    spans = _merged(text, recognisers)
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], f"[{span.kind.upper()}]"]
        end = span.end
    return Redacted("".join([*parts, text[end:]]), dict(Counter(span.kind for span in spans)))


def _merged(text: str, recognisers: Sequence[Recogniser]) -> list[Span]:
    """Return the spans in order, those that overlap joined."""
    kept: list[Span] = []
    for span in (span for recogniser in recognisers for span in recogniser.find(text)):
        joined = [other for other in kept if span.start < other.end and other.start < span.end]
        kept = [other for other in kept if other not in joined]
        parts = [*joined, span]
        start, end = min(part.start for part in parts), max(part.end for part in parts)
        kept.append(Span(parts[0].kind, start, end))
    return sorted(kept, key=lambda span: span.start)
