"""Texts of wanted lengths in tokens, as a model's tokenizer counts them."""

from collections.abc import Sequence

import numpy as np

from orchestrator.core.model import ModelFolder
from orchestrator.models.text import TOKENIZER

SHORTEST, MEDIAN, LONGEST, SPREAD = 8, 28, 128, 0.7
_MARKS = 2
"""What a model adds itself: a token at the beginning and one at the end."""


def mixed_lengths(count: int) -> list[int]:
    """Return log-normal lengths, as short messages have them."""
    drawn = np.random.default_rng(1).lognormal(np.log(MEDIAN), SPREAD, count)
    return [int(length) for length in np.clip(np.rint(drawn), SHORTEST, LONGEST)]


def texts_of(lengths: Sequence[int], folder: ModelFolder) -> list[str]:
    """Return a text for each length, of words that are one token each."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder.file(TOKENIZER)))
    words = sorted(word for word in tokenizer.get_vocab() if word.isalpha() and word.isascii())
    dice = np.random.default_rng(1)
    return [" ".join(dice.choice(words, length - _MARKS)) for length in lengths]
