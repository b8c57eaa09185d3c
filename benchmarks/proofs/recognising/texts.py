"""Texts from templates, with the places of their private values; the same from the same seed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.proofs.recognising import seen, unseen
from benchmarks.proofs.recognising.adversarial import CHANGES, Change
from benchmarks.proofs.recognising.decoys import DECOYS
from benchmarks.proofs.recognising.values import MAKERS
from orchestrator.privacy.recognisers import Span

_PART = re.compile(r"\{(\w+)\}|\{\{|\}\}|[^{}]+")

SPLITS: dict[str, Sequence[str]] = {
    "seen": (*seen.PRIVATE, *seen.HARMLESS),
    "unseen": (*unseen.PRIVATE, *unseen.HARMLESS),
}
"""The templates of each split; the third, adversarial, writes the seen ones in other ways."""
ADVERSARIAL = "adversarial"


@dataclass(frozen=True, slots=True)
class Text:
    """A text whose private values are known.

    Attributes:
        text: What a recogniser reads.
        spans: Where its private values stand, in order.
        change: How they were made hard to see; empty if they were not.
    """

    text: str
    spans: tuple[Span, ...]
    change: str = ""


def texts(split: str, each: int, seed: int) -> Iterator[Text]:
    """Yield so many texts of each template of a split; of each change, too, if adversarial."""
    source = Random(f"{split} {seed}")
    if split != ADVERSARIAL:
        for template in SPLITS[split]:
            for _ in range(each):
                yield written(template, source)
        return
    for name in CHANGES:
        for template in seen.PRIVATE:
            for _ in range(each):
                yield written(template, source, name)


def written(template: str, source: Random, change: str = "") -> Text:
    """Return a template with values for its names."""
    made: Change | None = CHANGES.get(change)
    text, spans = "", []
    for part in _PART.finditer(template):
        kind = part[1]
        if kind in MAKERS:
            value = MAKERS[kind](source)
            value = made(source, value) if made else value
            spans.append(Span(kind, len(text), len(text) + len(value)))
            text += value
        else:
            text += DECOYS[kind](source) if kind else {"{{": "{", "}}": "}"}.get(part[0], part[0])
    return Text(text, tuple(spans), change)
