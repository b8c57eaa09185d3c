"""Texts and numbers that occur once in a run: canaries that must stay, marks that must arrive.

A token has 32 characters, so that any 15 of them in a row hold one of its four words of eight
whole. Letters are taken from sixteen that are no hexadecimal digits: ids and digests, of which a
capture is full, cannot look like them.
"""

import numpy as np
from numpy.typing import NDArray

LENGTH = 32
LETTERS = b"ghjkmnpqrstvwxyz"
DIGITS = b"1234567890"

Bytes = NDArray[np.uint8]


class Tokens:
    """Gives out tokens, each of them once.

    Args:
        count: How many there are.
        seed: What they are.
        digits: Whether they are whole numbers instead of letters of mixed case.
    """

    def __init__(self, count: int, seed: int, *, digits: bool = False) -> None:
        source = np.random.default_rng(seed)
        alphabet = np.frombuffer(DIGITS if digits else LETTERS, np.uint8)
        codes = alphabet[source.integers(0, len(alphabet), (count, LENGTH))]
        if digits:
            codes[:, 0] = alphabet[source.integers(0, 9, count)]  # a number begins with no zero
        else:
            codes -= np.where(source.random((count, LENGTH)) < 0.5, 32, 0).astype(np.uint8)
        self._text = codes.tobytes().decode()
        self._count = count
        self.given = 0

    def text(self) -> str:
        """Return the next token.

        Raises:
            RuntimeError: All have been given out.
        """
        if self.given == self._count:
            raise RuntimeError(f"all {self._count} tokens are used: make more of them")
        self.given += 1
        return self._text[LENGTH * (self.given - 1) : LENGTH * self.given]

    def number(self) -> int:
        """Return the next token of digits as a number."""
        return int(self.text())

    @property
    def used(self) -> Bytes:
        """The tokens that were given out, in lower case, of shape (count, LENGTH)."""
        text = self._text[: LENGTH * self.given].lower().encode()
        return np.frombuffer(text, np.uint8).reshape(-1, LENGTH)
