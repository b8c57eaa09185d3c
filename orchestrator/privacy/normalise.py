"""Other ways to read a text, each with its way back: look-alikes folded, broken values joined."""

import re
import unicodedata
from dataclasses import dataclass

from orchestrator.privacy.confusables import CONFUSABLES

# Format characters, combining and enclosing marks: nobody sees them, or they only adorn.
_UNSEEN = frozenset({"Cf", "Mn", "Me"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u00ad")  # letters without ink
_PART = r"[\w@.+/=:-]"
_BREAK = re.compile(rf"(?<={_PART})(?:=?[ \t]*\r?\n[ \t>]*)(?=(?!@){_PART})")
_SPACED = re.compile(r"(?<![^\W_])\S(?:[ \t]\S){5,}(?![^\W_])")
_SPACE = re.compile(r"[ \t]")


@dataclass(frozen=True, slots=True)
class View:
    """A text read in another way.

    Attributes:
        text: What is read.
        places: For each of its characters, where it stands in the original.
        ends: Where it ends there, with the unseen characters that follow it.
    """

    text: str
    places: list[int]
    ends: list[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of this view (not empty) stands in the original."""
        return self.places[start], self.ends[end - 1]


def as_it_is(text: str) -> View:
    """Return the view that changes nothing."""
    return View(text, list(range(len(text))), list(range(1, len(text) + 1)))


def folded(text: str) -> View:
    """Return a text in plain letters and digits.

    Compatibility forms (NFKC), digits of all scripts and look-alikes become what they look like;
    characters without width, soft hyphens and marks above and below letters are dropped.
    """
    if text.isascii():
        return as_it_is(text)
    letters: list[str] = []
    places: list[int] = []
    ends: list[int] = []
    for place, letter in enumerate(text):
        plain = letter if letter.isascii() else _plain(letter)
        letters.append(plain)
        places += [place] * len(plain)
        ends += [place + 1] * len(plain)
        if ends and not plain:
            ends[-1] = place + 1
    return View("".join(letters), places, ends)


def joined(view: View) -> View:
    """Return a view without the breaks inside values.

    Line breaks between two parts of words are taken out, also soft ones of mail ("=" at the end
    of a line), and the spaces of what is written letter by letter.
    """
    dropped = {at for found in _BREAK.finditer(view.text) for at in range(*found.span())}
    for run in _SPACED.finditer(view.text):
        dropped |= {run.start() + found.start() for found in _SPACE.finditer(run[0])}
    if not dropped:
        return view
    kept = [at for at in range(len(view.text)) if at not in dropped]
    return View(
        "".join(view.text[at] for at in kept),
        [view.places[at] for at in kept],
        [view.ends[at] for at in kept],
    )


def _plain(letter: str) -> str:
    """Return what one character that is not ASCII looks like; nothing if it is not seen."""
    if letter in _FILLERS or unicodedata.category(letter) in _UNSEEN:
        return ""
    digit = unicodedata.digit(letter, None)
    if digit is not None:
        return str(digit)
    return unicodedata.normalize("NFKC", letter).translate(CONFUSABLES)
