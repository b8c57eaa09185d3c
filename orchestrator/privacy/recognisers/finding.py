"""Finding all private values: every recogniser reads the text in every way that might show one."""

import re
from collections.abc import Iterable, Sequence

from orchestrator.privacy.normalise import View, as_it_is, folded, joined
from orchestrator.privacy.recognisers.base import Recogniser, Span

# A piece that a line break may have cut off a value, before or after: no plain word.
_HEAD = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]|\w[._+@-]\w")
_TAIL = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]|[a-z][A-Z]")
_JOINTS = "+._-"
_END = 8


def find_all(text: str, recognisers: Sequence[Recogniser]) -> list[Span]:
    """Return where private values stand in a text, in order, without overlaps.

    The text is read as it is, in plain letters (look-alikes folded), and without line breaks and
    spaces inside values. Overlapping finds become one span over all of them, so that nothing that
    anyone found is left out; its kind is that of the longest, then of the surest recogniser.

    Args:
        text: What may hold private values.
        recognisers: What finds them, the surest first.

    Returns:
        Spans of the text as it was given.
    """
    original = as_it_is(text)
    plain = folded(text)
    found = _ranked(original, recognisers)
    if plain.text != text:
        found += _ranked(plain, recognisers)
    together = joined(plain)
    if together is not plain:
        found += [one for one in _ranked(together, recognisers) if _adds(one[1], found, text)]
    return _without_overlaps(found)


_Ranked = tuple[int, Span]
"""A span, and the rank of who found it: 0 is the surest."""


def _ranked(view: View, recognisers: Iterable[Recogniser]) -> list[_Ranked]:
    """Return what is found in a view, in places of the original."""
    return [
        (rank, Span(span.kind, *view.original(span.start, span.end)))
        for rank, recogniser in enumerate(recognisers)
        for span in recogniser.find(view.text)
        if span.end > span.start
    ]


def _adds(span: Span, found: Iterable[_Ranked], text: str) -> bool:
    """Say whether a find over a line break is more than one without, and its next word."""
    for _, other in found:
        if other.kind == span.kind and span.start < other.end and other.start < span.end:
            head, tail = text[span.start : other.start], text[other.end : span.end]
            cut = bool(head) and (text[other.start] in _JOINTS or _HEAD.search(head) is not None)
            end = text[max(other.start, other.end - _END) : other.end]
            return cut or all(_TAIL.search(piece) for piece in (end, tail))
    return True


def _without_overlaps(found: Iterable[_Ranked]) -> list[Span]:
    """Return the spans in order, those that overlap as one."""
    spans: list[Span] = []
    best: list[tuple[int, int]] = []
    for rank, span in sorted(found, key=lambda one: (one[1].start, -one[1].end, one[0])):
        worth = (span.end - span.start, -rank)
        if not spans or span.start >= spans[-1].end:
            spans.append(span)
            best.append(worth)
            continue
        kind = span.kind if worth > best[-1] else spans[-1].kind
        spans[-1] = Span(kind, spans[-1].start, max(spans[-1].end, span.end))
        best[-1] = max(best[-1], worth)
    return spans
