"""What every recogniser is: a thing that finds private values in a text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """A private value's place in a text, from `start` up to `end`."""

    kind: str
    start: int
    end: int


class Recogniser(Protocol):
    """Finds private values of one kind, or of a few."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where they stand in a text."""
