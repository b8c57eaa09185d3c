"""Reversible pseudonyms: private values replaced by tokens of their kind, and put back later."""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NoReturn

from orchestrator.privacy.catalog import default_recognisers
from orchestrator.privacy.recognisers import Recogniser, Span, find_all
from orchestrator.privacy.restoring import Place, Restored, Restorer, places, restore
from orchestrator.privacy.tokens import LITERAL, kind_written, next_token, strangers, widened
from orchestrator.privacy.vault import CAPACITY, Vault


class PseudonymSession:
    """Replaces the private values of texts by tokens, and restores texts that have them.

    Within a session the same value has the same token; other sessions have other tokens. Two
    spellings of one value have one code with different numbers behind it, so that a reader
    sees that they are the same and each comes back as it stood. What looks like a token in a
    text is replaced, too, so that `restore(pseudonymise(x)).text == x` for every x. Only what
    the recognisers find is replaced: detection is statistical.

    Safe in threads and tasks.

    Args:
        recognisers: What finds private values, by default all that need no extra; where two
            overlap the earlier's kind counts.
        key: The session's secret key, of 32 bytes; by default a new one.
        capacity: The most values it keeps.
    """

    def __init__(
        self,
        recognisers: Sequence[Recogniser] | None = None,
        *,
        key: bytes | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self._recognisers = default_recognisers() if recognisers is None else recognisers
        self._vault = Vault(key, capacity)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """How many places of each kind were replaced so far."""
        with self._lock:
            return dict(self._counts)

    def pseudonymise(self, text: str, subject: str | None = None) -> str:
        """Return a text with a token for each private value.

        Args:
            text: What may hold private values.
            subject: Whose values they are, so that `forget` finds them.

        Raises:
            InvalidInput: The vault is full.
        """
        spans = self._spans(text)
        replaced, expected = self._replaced(text, spans, subject)
        if places(replaced, self._vault) != expected:
            # Letters around the tokens read as parts of them: then all of it is one value.
            spans = [Span(LITERAL, 0, len(text))]
            replaced, _ = self._replaced(text, spans, subject)
        with self._lock:
            self._counts.update(span.kind for span in spans)
        return replaced

    def restore(self, text: str) -> Restored:
        """Return a text with the values of this session's tokens; see `restoring.restore`."""
        return restore(text, self._vault)

    def restorer(self) -> Restorer:
        """Return what restores a text that comes in pieces."""
        return Restorer(self._vault)

    def forget(self, subject: str) -> int:
        """Forget the values that are of this subject alone; return how many these were."""
        return self._vault.forget(subject)

    def clear(self) -> int:
        """Forget all values; return how many these were."""
        return self._vault.clear()

    def _replaced(
        self, text: str, spans: Iterable[Span], subject: str | None
    ) -> tuple[str, list[Place]]:
        """Return a text with its tokens, and where they stand in it."""
        parts, found, end, length = list[str](), list[Place](), 0, 0
        for span in spans:
            value = text[span.start : span.end]
            token = self._vault.token(kind_written(span.kind), value, subject)
            length += span.start - end
            found.append(Place(length, length + len(token), value))
            parts += [text[end : span.start], token]
            end, length = span.end, length + len(token)
        return "".join([*parts, text[end:]]), found

    def _spans(self, text: str) -> list[Span]:
        """Return the places to replace, in order and apart from each other."""
        spans = find_all(text, self._recognisers)
        kinds = self._vault.kinds.union([LITERAL], (kind_written(span.kind) for span in spans))
        return _apart(text, [*spans, *_lookalikes(text, kinds)])

    def __repr__(self) -> str:
        return f"PseudonymSession({len(self._vault)} values, ****)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a session of pseudonyms cannot be pickled or copied: it stays where it is")


def _lookalikes(text: str, kinds: Iterable[str]) -> Iterable[Span]:
    """Yield what reads as a token in a text that has none yet."""
    kinds, start = frozenset(kinds), 0
    while found := next_token(text, kinds, start):
        if found.code:
            yield Span(LITERAL, found.start, found.end)
        start = found.start + 1
    for found in strangers(text):
        if found.code or found.kind in kinds:
            yield Span(LITERAL, found.start, found.end)


def _apart(text: str, spans: Sequence[Span]) -> list[Span]:
    """Return spans in order, widened to the borders of words; those that touch are joined."""
    apart = list[tuple[int, Span]]()  # each with its rank: the first to be found names the kind
    for rank, span in sorted(enumerate(spans), key=lambda ranked: ranked[1].start):
        last = apart[-1] if apart else None
        if last and span.end <= last[1].end:
            start, end = last[1].start, last[1].end
        else:
            start, end = widened(text, max(span.start, last[1].end if last else 0), span.end)
        if last and start <= last[1].end:
            rank, span = min(last, (rank, span), key=lambda ranked: ranked[0])
            apart[-1] = (rank, Span(span.kind, last[1].start, end))
        elif start < end:
            apart.append((rank, Span(span.kind, start, end)))
    return [span for _, span in apart]
