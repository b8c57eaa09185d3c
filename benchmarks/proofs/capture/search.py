"""Finds tokens in bytes, whole or half, plain or encoded, as fast as the bytes can be read."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.proofs.capture.encodings import views
from benchmarks.proofs.capture.tokens import LENGTH, Bytes

HALF = LENGTH // 2
"""So many characters of a token in a row are a hit: a frame's border cuts a token once."""

_WORD = 8
_BLOCK = 2**21
_OVERLAP = 2**10  # a token is at most a third of this long in any encoding
_WINDOWS = 2**19  # of which what numpy makes stays in the processor's cache
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hash (1973), 2**64 over phi

Words = NDArray[np.uint64]


@dataclass
class Found:
    """What a search found.

    Attributes:
        whole: Numbers of the tokens that stand there whole and plain.
        seen: Numbers of the tokens that stand there whole or half, by encoding.
    """

    whole: set[int] = field(default_factory=set)
    seen: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


class Index:
    """Tokens, ready to be looked for: all windows of eight bytes are looked up in a hash table.

    Args:
        tokens: In lower case, of shape (count, LENGTH).
    """

    def __init__(self, tokens: Bytes) -> None:
        self._tokens = np.ascontiguousarray(tokens)
        words = self._tokens.view("<u8").reshape(-1)
        order = np.argsort(words, kind="stable")
        self._order, self._sorted = order, words[order]
        self._bits = np.uint64(64 - max(len(words).bit_length() + 4, 16))
        self._table = np.zeros(2 ** (64 - int(self._bits)), np.bool_)
        self._table[words * _SPREAD >> self._bits] = True

    def search(self, data: bytes, found: Found) -> None:
        """Add what stands in bytes, in any encoding, to what was found."""
        for start in range(0, max(len(data), 1), _BLOCK):
            for name, view in views(data[start : start + _BLOCK + _OVERLAP]):
                self._search_view(name, view, found)

    def _search_view(self, name: str, view: Bytes, found: Found) -> None:
        view = np.ascontiguousarray(view)
        places, words = self._candidates(view)
        if not len(places):
            return
        tokens, starts = words // 4, places - words % 4 * _WORD
        inside = (starts >= 0) & (starts + LENGTH <= len(view))
        whole = inside.copy()
        rows = starts[inside][:, None] + np.arange(LENGTH)
        whole[inside] = (view[rows] == self._tokens[tokens[inside]]).all(axis=1)
        seen = set(tokens[whole].tolist())
        if name == "plain":
            found.whole |= seen
        for token, start, place in zip(
            tokens[~whole].tolist(), starts[~whole].tolist(), places[~whole].tolist(), strict=True
        ):
            if token not in seen and self._run(view, token, start, place) >= HALF:
                seen.add(token)
        found.seen[name] |= seen

    def _candidates(self, view: Bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where windows of eight bytes are words of tokens, and of which."""
        none = np.empty(0, np.int64)
        found = [(none, none)]
        for shift in range(min(_WORD, max(len(view) - _WORD + 1, 0))):
            windows = np.frombuffer(view, "<u8", (len(view) - shift) // _WORD, shift)
            for start, part in _parts(windows):
                at = np.nonzero(self._table[part * _SPREAD >> self._bits])[0]
                rank = np.minimum(np.searchsorted(self._sorted, part[at]), len(self._sorted) - 1)
                same = self._sorted[rank] == part[at]
                found.append(((start + at[same]) * _WORD + shift, self._order[rank[same]]))
        places, words = zip(*found, strict=True)
        return np.concatenate(places), np.concatenate(words)

    def _run(self, view: Bytes, token: int, start: int, place: int) -> int:
        """Return how many characters of a token stand in a row around a place."""
        wanted, at = self._tokens[token], place - start
        first = last = at
        while first > 0 and start + first > 0 and view[start + first - 1] == wanted[first - 1]:
            first -= 1
        end = min(LENGTH, len(view) - start)
        while last < end and view[start + last] == wanted[last]:
            last += 1
        return last - first


def _parts(windows: Words) -> Iterator[tuple[int, Words]]:
    for start in range(0, len(windows), _WINDOWS):
        yield start, windows[start : start + _WINDOWS]
