"""Dates of birth: valid dates right after, or before, words that say so."""

import re
from collections.abc import Iterator
from datetime import date

from orchestrator.privacy.recognisers.base import Span
from orchestrator.privacy.recognisers.context import word_pattern

# Three letters tell the months apart in most languages; a few need more.
_MONTHS = (
    "jan|sty|ene|gen", "feb|fev|fév|lut|helmi", "mar|mär|mrt|maalis", "apr|avr|abr|kwi|huhti",
    "may|mai|maj|mei|mag|touko", "jun|juin|giu|cze|kesä", "jul|juil|lug|lip|heinä",
    "aug|aoû|aou|ago|sie|elo", "sep|set|wrz|syys", "oct|okt|oto|ott|out|paź|loka",
    "nov|lis|marras", "dec|dez|déc|dic|gru|joulu",
)  # fmt: skip
_MONTH = "|".join(f"(?P<m{number}>{names})" for number, names in enumerate(_MONTHS, 1))
_NAMED = rf"(?:{_MONTH})[^\W\d_]{{0,8}}\.?"
_DAY, _YEAR = r"(?P<day>[0-9]{1,2})", r"(?P<year>[0-9]{4}|'?[0-9]{2})"
_SEP = r"\s{0,2}[./\s-]\s{0,2}"
_DATES = (
    re.compile(rf"(?P<year>[0-9]{{4}}){_SEP}(?P<two>[0-9]{{1,2}}){_SEP}(?P<one>[0-9]{{1,2}})\b"),
    re.compile(rf"(?P<one>[0-9]{{1,2}}){_SEP}(?P<two>[0-9]{{1,2}}){_SEP}{_YEAR}\b"),
    re.compile(
        rf"{_DAY}(?:st|nd|rd|th|er|º|\.)?[\s.-]{{0,3}}(?:of |de |d')?{_NAMED}"
        rf"[\s,.-]{{0,3}}(?:de )?{_YEAR}\b",
        re.IGNORECASE,
    ),
    re.compile(rf"{_NAMED}\s{{0,2}}{_DAY}(?:st|nd|rd|th)?[\s,]{{1,3}}{_YEAR}\b", re.IGNORECASE),
)
_WORDS = word_pattern(
    r"born", r"births?", r"birth\W?(?:day|date)s?", r"d\.?\W?o\.?\W?b", r"b\W?day",
    r"geb", r"gebo\w+", r"geburts\w+", r"nées?", r"né", r"naissance", r"nac", r"naci\w+",
    r"nat[oa]", r"nascita", r"nascid[oa]", r"nascimento", r"dn", r"ur", r"urodz\w+",
    r"född\w*", r"födelse\w+", r"syntynyt", r"syntymä\w*", r"født", r"fødsels\w+",
)  # fmt: skip
_REACH = re.compile(r"[^0-9]{0,30}")
_AFTER = re.compile(
    r"\W{0,3}(?:is |ist |est |es |\()?(?:my |his |her |their |the )?", re.IGNORECASE
)


class BirthDateRecogniser:
    """Finds dates of birth, in some European languages."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where dates of birth stand in a text."""
        for words in _WORDS.finditer(text):
            reach = _REACH.match(text, words.end())
            limit = reach.end() if reach else words.end()
            found = _date_from(text, words.end(), limit)
            if found:
                yield Span("birth_date", *found)


def _date_from(text: str, start: int, limit: int) -> tuple[int, int] | None:
    """Return the first date that begins between two places."""
    for at in range(start, limit + 1):
        if at and text[at - 1].isalnum():
            continue
        for pattern in _DATES:
            match = pattern.match(text, at)
            if match and _is_date(match):
                return match.span()
    return None


def _is_date(match: re.Match[str]) -> bool:
    """Say whether there is such a day, whichever of two numbers is the month."""
    parts = match.groupdict()
    year = int(parts["year"].strip("'"))
    year += 1900 if year < 100 else 0
    months = [int(name[1:]) for name, found in parts.items() if name[0] == "m" and found]
    if months:
        orders = [(months[0], int(parts["day"]))]
    else:
        one, two = int(parts["one"]), int(parts["two"])
        orders = [(two, one), (one, two)]
    return any(_exists(year, month, day) for month, day in orders)


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return year >= 1880
