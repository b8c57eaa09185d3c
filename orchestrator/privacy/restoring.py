"""Putting values back for their tokens, in a whole text or in one that comes in pieces."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from orchestrator.privacy.tokens import CONTEXT, begins_at, longest, next_token, strangers
from orchestrator.privacy.vault import Vault

_MOST_HELD = 1000
"""Pieces that are held back at most: so many no token has."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A text with the values of its tokens.

    Attributes:
        text: The text.
        unresolved: Tokens that stay in it: they are damaged, or their values are forgotten.
        invented: What reads as a token and was never handed out; it stays in the text, too.
    """

    text: str = field(repr=False)
    unresolved: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where something that reads as a token stands; its value is None if it has none."""

    start: int
    end: int
    value: str | None = field(default=None, repr=False)
    invented: bool = False


def restore(text: str, vault: Vault) -> Restored:
    """Return a text in which the tokens of a vault are replaced by their values.

    A token is found though its case was changed, it was wrapped over lines, typeset with
    hyphens or spaces, escaped for JSON or Markdown, emphasised, or put in the possessive. The
    longest that fits between its borders counts. Values are put in as they stood: an answer in
    JSON is best parsed first.

    Args:
        text: What came back.
        vault: The vault of the session in which it was pseudonymised.
    """
    found = places(text, vault)
    parts, end = list[str](), 0
    for place in found:
        if place.value is not None:
            parts += [text[end : place.start], place.value]
            end = place.end
    return _told("".join([*parts, text[end:]]), text, found)


def places(text: str, vault: Vault, start: int = 0) -> list[Place]:
    """Return all that reads as a token from `start` on, in order and without overlaps."""
    found = list[Place]()
    for place in _tokens(text, vault, start):
        found += _strangers(text, vault, start, place.start)
        found.append(place)
        start = place.end
    return [*found, *_strangers(text, vault, start, len(text))]


def _tokens(text: str, vault: Vault, start: int) -> Iterator[Place]:
    """Yield the tokens whose codes were handed out."""
    while found := next_token(text, vault.kinds, start):
        if found.code and vault.knows(found.code):
            yield Place(found.start, found.end, vault.value(found))
            start = found.end
        else:
            start = found.start + 1  # a real one may begin inside of what only looks like one


def _strangers(text: str, vault: Vault, start: int, end: int) -> Iterator[Place]:
    """Yield what has the form of a token in between, and what is left of one."""
    for found in strangers(text, start, end):
        if found.code:
            yield Place(found.start, found.end, invented=not vault.knows(found.code))
        elif found.kind in vault.kinds:
            yield Place(found.start, found.end)


def _told(restored: str, text: str, found: Iterable[Place]) -> Restored:
    left = [place for place in found if place.value is None]
    return Restored(
        restored,
        tuple(text[place.start : place.end] for place in left if not place.invented),
        tuple(text[place.start : place.end] for place in left if place.invented),
    )


class Restorer:
    """Restores a text that comes in pieces, such as a stream of words; the pieces stay apart.

    A piece that ends in what may be the beginning of a token is held back until it is known
    whether one stands there. The value of a token that stands in several pieces is put in the
    first of them.

    Args:
        vault: The vault of the session in which the text was pseudonymised.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._context = ""  # what stood right before the pieces that are held back
        self._pieces: list[str] = []
        self._left = Restored("")

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Tokens that were left in the text so far; see `Restored`."""
        return self._left.unresolved

    @property
    def invented(self) -> tuple[str, ...]:
        """What read as a token so far and was never handed out."""
        return self._left.invented

    def feed(self, piece: str) -> list[str]:
        """Take the next piece, and return the pieces that are ready, in their order."""
        self._pieces.append(piece)
        kinds = self._vault.kinds
        window = self._last(longest(kinds))
        begins = begins_at(window, kinds)
        if begins is None or len(self._pieces) > _MOST_HELD:
            return self.finish()
        held, ready = len(window) - begins, len(self._pieces)
        while ready and held > 0:
            ready -= 1
            held -= len(self._pieces[ready])
        return self._release(ready)

    def finish(self) -> list[str]:
        """Return the pieces that are still held back, for no more will come."""
        return self._release(len(self._pieces))

    def _last(self, length: int) -> str:
        """Return the end of what was taken, at least so long if there is so much."""
        parts = list[str]()
        for part in reversed([self._context, *self._pieces]):
            parts.append(part)
            length -= len(part)
            if length <= 0:
                break
        return "".join(reversed(parts))

    def _release(self, count: int) -> list[str]:
        """Return the first pieces, restored, and keep the others."""
        if not count:
            return []
        text = "".join([self._context, *self._pieces])
        ends = list(accumulate(map(len, self._pieces), initial=len(self._context)))
        at = ends[0]
        found = [place for place in places(text, self._vault, at) if place.start < ends[count]]
        pieces, waiting = list[str](), iter([place for place in found if place.value is not None])
        place = next(waiting, None)
        for end in ends[1 : count + 1]:
            parts = list[str]()
            while place and place.start < end:
                parts += [text[at : place.start], place.value or ""]
                at, place = place.end, next(waiting, None)
            pieces.append("".join([*parts, text[at:end]]))
            at = max(at, end)
        told = _told("", text, found)
        self._left = Restored(
            "", self._left.unresolved + told.unresolved, self._left.invented + told.invented
        )
        rest = self._pieces[count:]
        if rest:  # a token that began before may have ended in the first of them
            rest[0] = text[at : ends[count + 1]]
        self._context, self._pieces = text[max(at - CONTEXT, 0) : at], rest
        return pieces
