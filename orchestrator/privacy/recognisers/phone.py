"""Phone numbers, by the numbering plans of all countries (libphonenumber)."""

import re
from collections.abc import Iterator

from orchestrator.privacy.recognisers.base import Span
from orchestrator.privacy.recognisers.context import is_near, word_pattern

_LONG, _SHORT = 9, 6
_DATE = re.compile(r"[0-9]{4}([-./][0-9]{1,2}){2}|([0-9]{1,2}[-./ ]){2}[0-9]{2,4}")
_MAY_BE = re.compile(r"[0-9](?:[^0-9A-Za-z]{0,4}[0-9]){5}")
_BREAK = re.compile(r"(?<!\n)\r?\n[ \t>]{0,4}(?!\r?\n)")
_MONEY = re.compile(r"[0-9]{1,3}([ .,]?[0-9]{3})*[.,][0-9]{2}")
_DECIMAL = re.compile(r"[0-9]{1,3}[.,][0-9]{4,}")
_MONEY_SIGNS = tuple("$€£¥₹")
_COUNTED = re.compile(
    r"(?<![^\W_])(?:order|invoice|ref|reference|ticket|article|item|serial|tracking|parcel|case|"
    r"bestell|bestellung|auftrag|rechnung|artikel|commande|facture|pedido|factura|ordine|fattura)"
    r"[\s-]?(?:n(?:o|r|umber|ummer|um[eé]ro)?|id)?[\s.:#-]{0,3}$",
    re.IGNORECASE,
)
# What a number is written together with: the rest of a UUID, a hash or a serial number.
_BEFORE, _AFTER = re.compile(r"[0-9A-Za-z-]{1,30}$"), re.compile(r"[0-9A-Za-z-]{1,30}")
_MIXED = re.compile(r"[0-9]-?[A-Za-z]|[A-Za-z]-?[0-9]")
_NEAR = 30
PHONE_WORDS = word_pattern(
    r"(?:tele?)?phone\w*", r"tel", r"telefon\w*", r"tel[eé]fono", r"telefo[on]\w*", r"tél\w*",
    r"call\w*", r"ring", r"rang", r"dial\w*", r"mob(?:ile)?", r"m[oó]vil", r"cell\w*", r"handy",
    r"fax", r"sms", r"whatsapp", r"signal", r"texts?", r"contact", r"reach\w*", r"hotline",
    r"anruf\w*", r"rückruf", r"rufnummer", r"appel\w*", r"portable", r"llam\w*", r"cellulare",
    r"celular", r"komórka", r"puhelin",
)  # fmt: skip
"""Words that say that a phone number follows."""
_PHONE = word_pattern(
    r"(?:tele?)?phone", r"tel", r"fax", r"mob(?:ile)?", r"telef\w+", r"tél\w*", "handy"
)


class PhoneRecogniser:
    """Finds phone numbers.

    Args:
        region: The country of numbers without a country code, such as "GB".
    """

    def __init__(self, region: str = "GB") -> None:
        self._region = region

    def find(self, text: str) -> Iterator[Span]:
        """Yield where phone numbers stand in a text."""
        if not _MAY_BE.search(text):
            return
        found = [*self._matches(text)]
        yield from (span for span, _ in found)
        if "\n" in text:  # a number may go on in the next line
            for span, _ in self._matches(_BREAK.sub(lambda gap: " " * len(gap[0]), text)):
                inside = [v for one, v in found if span.start < one.end and one.start < span.end]
                if not inside or not all(inside):
                    yield span

    def _matches(self, text: str) -> Iterator[tuple[Span, bool]]:
        """Yield numbers, and whether somebody's numbering plan has them."""
        from phonenumbers import Leniency, PhoneNumberMatcher, is_valid_number

        for match in PhoneNumberMatcher(text, self._region, Leniency.POSSIBLE):
            # A number of nobody's plan is masked, too, if it is too long for a date or an order.
            digits = sum(letter.isdigit() for letter in match.raw_string)
            valid = is_valid_number(match.number)
            likely = valid or digits >= _LONG or _is_called(text, match.start, match.end, digits)
            if likely and not _counts_something(text, match.start, match.end):
                # An open bracket is the sentence's if it is not closed within.
                unclosed = match.raw_string[0] == "(" and ")" not in match.raw_string
                yield Span("phone", match.start + unclosed, match.end), valid


def _is_called(text: str, start: int, end: int, digits: int) -> bool:
    """Say whether a few digits stand right after a word for phone."""
    before = text[max(0, start - _NEAR) : start]
    return digits >= _SHORT and _PHONE.search(before) is not None


def _counts_something(text: str, start: int, end: int) -> bool:
    """Say whether digits are rather a date, an amount, a piece of a hash, or an order's number."""
    written = text[start:end]
    around = _BEFORE.search(text, max(0, start - _NEAR), start), _AFTER.match(text, end)
    if any(part is not None and _MIXED.search(part[0]) for part in around):
        return True
    if any(form.fullmatch(written) for form in (_MONEY, _DECIMAL, _DATE)):
        return True
    if text[max(0, start - 2) : start].strip()[-1:] in _MONEY_SIGNS:
        return True
    written = written.strip("()")
    solid = " " not in written and written[0] != "+"
    if solid and _COUNTED.search(text[max(0, start - _NEAR) : start]):
        return True
    # Digits without a sign, a first zero or groups may count anything.
    return written.isdigit() and written[0] != "0" and not is_near(PHONE_WORDS, text, start, end)
