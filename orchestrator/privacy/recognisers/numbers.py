"""What numbers have in common, however people group, space and wrap their digits."""

import re

BETWEEN = r"[\s./_>-]{0,3}"
"""What may stand between two digits: also a line break, and the sign of quoted mail."""


# No part of a word, of a time of the day with its fraction, or of a UUID.
_ALONE = r"(?<![0-9A-Za-z].)(?<![0-9]:.)(?<![0-9A-Fa-f]{4}-.)"


def shaped(*signs: str) -> re.Pattern[str]:
    """Return the pattern of a number that is these signs, and not a part of a longer one.

    It finds every place where the number may start, also where two overlap: a match is the first
    sign only, and `end("number")` is where the number ends. Each place is looked at for a bounded
    number of steps, so that no text makes it slow.

    Args:
        signs: A character class for each sign, such as "[0-9]".
    """
    # The sign stands before its own lookbehind, so that the search can leap to the next such sign.
    rest = BETWEEN.join(["", *signs[1:]])
    return re.compile(rf"{signs[0]}{_ALONE}(?=(?P<number>{rest})(?![0-9A-Za-z]))")


def compact(written: str) -> str:
    """Return only the digits and letters of a number, in capitals."""
    return "".join(letter for letter in written if letter.isalnum()).upper()
