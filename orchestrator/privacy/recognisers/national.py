"""National identity numbers with check digits, of twelve countries."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.privacy import nationalids as ids
from orchestrator.privacy.recognisers.base import Span
from orchestrator.privacy.recognisers.context import is_near, word_pattern
from orchestrator.privacy.recognisers.numbers import compact, shaped
from orchestrator.privacy.recognisers.phone import PHONE_WORDS

_D = "[0-9]"
_ANYONE = word_pattern(
    r"national\W{1,2}id\w*",
    r"identity\W{1,2}(?:number|card|no)",
    r"personal\W{1,2}(?:number|code|id)",
    r"social\W{1,2}(?:security|insurance)",
    r"tax\W{1,2}(?:id\w*|number|no)",
)
"""Words that are said of many countries' numbers."""


@dataclass(frozen=True)
class NationalId:
    """One country's number.

    Attributes:
        kind: The name of its spans.
        pattern: Its signs.
        holds: Whether its check digits fit; takes digits and capitals.
        words: What says nearby that it is one.
        grouped: How its country groups it, if that tells enough without words.
        sure: Whether its check digits tell enough without words.
    """

    kind: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool]
    words: re.Pattern[str]
    grouped: re.Pattern[str] | None = None
    sure: bool = False


class NationalIdRecogniser:
    """Finds the identity numbers of some countries.

    Args:
        numbers: Which; all that are known if none are given.
    """

    def __init__(self, numbers: Sequence[NationalId] | None = None) -> None:
        self._numbers = NATIONAL_IDS if numbers is None else numbers

    def find(self, text: str) -> Iterator[Span]:
        """Yield where they stand in a text."""
        found = [one for number in self._numbers for one in _found(number, text)]
        # One whose own words stand near goes before one whose check digits fit by chance.
        yield from (span for _, span in sorted(found, key=lambda one: one[0]))


def _found(number: NationalId, text: str) -> Iterator[tuple[bool, Span]]:
    """Yield where a number stands, and whether none of its own words is near."""
    for match in number.pattern.finditer(text):
        place = (match.start(), match.end("number"))
        written = text[slice(*place)]
        if not number.holds(compact(written)):
            continue
        named = is_near(number.words, text, *place)
        grouped = number.grouped is not None and number.grouped.fullmatch(written) is not None
        phone = written.isdigit() and is_near(PHONE_WORDS, text, *place)
        if named or grouped or (not phone and (number.sure or is_near(_ANYONE, text, *place))):
            yield not named, Span(number.kind, *place)


_CLASH = "[0-9L-NP-VLl-np-v]"  # an Italian digit, or the letter in its stead
_CODE = (*["[A-Za-z]"] * 6, _CLASH, _CLASH, "[A-EHLMPRSTa-ehlmprst]", _CLASH, _CLASH, "[A-Za-z]")
_GROUP = r"[ \u00a0-]"
_SWEDISH = word_pattern(r"personnummer\w*", r"person\W?nr", "pnr", r"samordningsnummer\w*")

NATIONAL_IDS: Sequence[NationalId] = (
    NationalId(
        "it_fiscal_code",
        shaped(*_CODE, *[_CLASH] * 3, "[A-Za-z]"),
        ids.it_fiscal_code_holds,
        word_pattern(r"cod\w*\W{1,2}fisc\w*", r"c\.?f", r"fiscal\W{1,2}code"),
        sure=True,
    ),
    NationalId(
        "fr_nir",
        shaped(*[_D] * 6, "[0-9ABab]", *[_D] * 8),
        ids.fr_nir_holds,
        word_pattern("nir", r"s[ée]cu\w*"),
        sure=True,
    ),
    NationalId(
        "fi_personal_code",
        shaped(*[_D] * 6, "[-+A-FU-Ya-fu-y]", *[_D] * 3, "[0-9A-FHJ-NPR-Ya-fhj-npr-y]"),
        ids.fi_personal_code_holds,
        word_pattern(r"henkilö\w+", r"hetu\w*", "finnish"),
        sure=True,
    ),
    NationalId(
        "es_dni",
        shaped("[0-9XYZxyz]", *[_D] * 7, "[A-HJ-NP-TV-Za-hj-np-tv-z]"),
        ids.es_dni_holds,
        word_pattern("dni", "nie", "nif", "spanish"),
        sure=True,
    ),
    NationalId("br_cpf", shaped(*[_D] * 11), ids.br_cpf_holds, word_pattern("cpf"), sure=True),
    NationalId(
        "de_tax_id",
        shaped(*[_D] * 11),
        ids.de_tax_id_holds,
        word_pattern(r"steuer\w*", r"id\W?nr", "tin", "german"),
        sure=True,
    ),
    NationalId(
        "se_personal_number",
        shaped(*[_D] * 8, "[+-]?[0-9]", *[_D] * 3),
        ids.se_personal_number_holds,
        _SWEDISH,
        sure=True,
    ),
    NationalId(
        "se_personal_number",
        shaped(*[_D] * 6, "[+-]?[0-9]", *[_D] * 3),
        ids.se_personal_number_holds,
        _SWEDISH,
        sure=True,
    ),
    NationalId(
        "pl_pesel",
        shaped(*[_D] * 11),
        ids.pl_pesel_holds,
        word_pattern(r"pesel\w*", r"ewidencyjny\w*"),
    ),
    NationalId(
        "uk_nhs",
        shaped(*[_D] * 10),
        ids.uk_nhs_holds,
        word_pattern("nhs", r"patient\W{1,2}(?:id\w*|number|no)", r"health\W{1,2}service"),
    ),
    NationalId(
        "nl_bsn",
        shaped(*[_D] * 9),
        ids.nl_bsn_holds,
        word_pattern("bsn", r"burger\W?service\W?n\w+", r"sofi\W?n\w+", "persoonsnummer"),
    ),
    NationalId(
        "in_aadhaar",
        shaped(*[_D] * 12),
        ids.in_aadhaar_holds,
        word_pattern(r"aa?dh?aa?r\w*", "uidai", "uid", "आधार"),
        grouped=re.compile(rf"[0-9]{{4}}({_GROUP})[0-9]{{4}}\1[0-9]{{4}}"),
    ),
    NationalId(
        "us_ssn",
        shaped(*[_D] * 9),
        ids.us_ssn_holds,
        word_pattern("ssn", r"ss\W{0,2}(?:no|number|#)", r"social\w*", "itin", r"soc\W{0,2}sec\w*"),
        grouped=re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}"),
    ),
)
"""Those whose check digits are surest stand first; the range of a US number is hardly a check."""
