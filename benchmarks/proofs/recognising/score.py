"""How well the private values of texts were found: recall, precision, F2, clean texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.proofs.recognising.texts import Text
from orchestrator.privacy.recognisers import Recogniser, Span, find_all


@dataclass(slots=True)
class Score:
    """Counts, over texts.

    Attributes:
        there: Values that were there, by kind.
        covered: Those of which no sign was left out, by kind.
        named: Those of them that were found under their own kind.
        found: Finds, by the kind they were given.
        right: Finds that touch a value of that kind.
        texts: How many texts there were.
        clean: Texts in which every value was covered.
        missed: Some that were not, to look at.
    """

    there: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    texts: int = 0
    clean: int = 0
    missed: list[tuple[str, Text]] = field(default_factory=list)

    def add(self, text: Text, found: Sequence[Span]) -> None:
        """Count one text and what was found in it."""
        missed = [span for span in text.spans if not _is_covered(span, found)]
        self.there.update(span.kind for span in text.spans)
        self.covered.update(span.kind for span in text.spans if span not in missed)
        self.named.update(
            span.kind for span in text.spans if span not in missed and _of_its_kind(span, found)
        )
        self.found.update(span.kind for span in found)
        self.right.update(span.kind for span in found if _of_its_kind(span, text.spans))
        self.texts += 1
        self.clean += not missed
        self.missed += [(span.kind, text) for span in missed]

    def recall(self, *kinds: str) -> float:
        """Return the share of values that were covered; of all kinds if none is named."""
        return _share(self.covered, self.there, kinds)

    def named_right(self, *kinds: str) -> float:
        """Return the share of values that were covered and called by their kind."""
        return _share(self.named, self.there, kinds)

    def precision(self, *kinds: str) -> float:
        """Return the share of finds that touch a value of the kind they were given."""
        return _share(self.right, self.found, kinds)

    def f2(self, *kinds: str) -> float:
        """Return the F measure that counts recall twice (van Rijsbergen, 1979)."""
        recall, precision = self.recall(*kinds), self.precision(*kinds)
        return 5 * precision * recall / ((4 * precision + recall) or 1)


def score(texts: Iterable[Text], recognisers: Sequence[Recogniser]) -> Score:
    """Return how well recognisers find what is in the texts."""
    counted = Score()
    for text in texts:
        counted.add(text, find_all(text.text, recognisers))
    return counted


def _is_covered(span: Span, found: Sequence[Span]) -> bool:
    """Say whether the finds, together, leave no sign of a value."""
    at = span.start
    for one in found:  # in order, without overlaps
        if one.start <= at < one.end:
            at = one.end
    return at >= span.end


def _of_its_kind(span: Span, others: Sequence[Span]) -> bool:
    return any(
        other.kind == span.kind and span.start < other.end and other.start < span.end
        for other in others
    )


def _share(some: Counter[str], every: Counter[str], kinds: tuple[str, ...]) -> float:
    total = sum(every[kind] for kind in kinds or every)
    return sum(some[kind] for kind in kinds or every) / total if total else 1.0
