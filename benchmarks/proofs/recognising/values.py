"""Private values that nobody has, one maker a kind, in the ways that people write them."""

import string
from collections.abc import Callable
from random import Random

from orchestrator.privacy import nationalids as ids
from orchestrator.privacy.checksums import luhn_holds

Make = Callable[[Random], str]

_FIRST = ("ada", "ben", "chloe", "dana", "emil", "fatima", "goran", "hana", "ivo", "jana", "zoë")
_LAST = ("adler", "brandt", "costa", "dahl", "ekholm", "fisher", "garcía", "ibrahim", "o'neill")
_DOMAINS = ("example.com", "mail.example.org", "shop.example", "example.co.uk", "büro.example.de")
_IBANS = {"NO": 15, "BE": 16, "AT": 20, "DE": 22, "GB": 22, "ES": 24, "FR": 27, "PL": 28, "MT": 31}
_UPPER, _LETTERS = string.ascii_uppercase, string.ascii_letters + string.digits
_MONTHS = ("January", "March", "May", "Juni", "août", "septembre", "Oktober", "noviembre")


def digits(source: Random, count: int) -> str:
    """Return so many digits."""
    return "".join(source.choices(string.digits, k=count))


def letters(source: Random, count: int, alphabet: str = _LETTERS) -> str:
    """Return so many letters; one of them is a digit, as in every real key."""
    made = source.choices(alphabet, k=count)
    made[source.randrange(count)] = source.choice(string.digits)
    return "".join(made)


def grouped(source: Random, value: str, sizes: tuple[int, ...], signs: str = " -") -> str:
    """Return a value as it is, or in groups."""
    if source.random() < 0.4:
        return value
    parts, place = [], 0
    for size in sizes:
        parts.append(value[place : place + size])
        place += size
    return source.choice(signs).join(part for part in [*parts, value[place:]] if part)


def _until(holds: Callable[[str], bool], make: Callable[[], str]) -> str:
    while True:
        value = make()
        if holds(value):
            return value


def _completed(body: str, checks: int, holds: Callable[[str], bool]) -> str:
    """Return a number with the check digits that fit, or nothing if none do."""
    tries = (body + f"{check:0{checks}d}" for check in range(10**checks))
    return next((number for number in tries if holds(number)), "")


def email(source: Random) -> str:
    """Return an address."""
    first, last = source.choice(_FIRST), source.choice(_LAST)
    local = source.choice((f"{first}.{last}", f"{first}{source.randrange(99)}", f"{first}+{last}"))
    address = f"{local}@{source.choice(_DOMAINS)}"
    return source.choice((address, address, address.title(), address.upper()))


def phone(source: Random) -> str:
    """Return a number with its country's code, or one of Great Britain without."""
    forms: tuple[str, ...] = (
        "+44 20 7946 0###",
        "020 7946 0###",
        "07700 900###",
        "+1 (202) 555-01##",
    )
    forms += ("+1-202-555-01##", "+33 1 99 00 ## ##", "+49 30 2312 5###", "+34 612 34 ## ##")
    forms += ("0044 7700 900###", "+4930231255##", "+46 70 174 06 ##", "+39 06 6982 ####")
    form = source.choice(forms)
    return "".join(digits(source, 1) if sign == "#" else sign for sign in form)


def card(source: Random) -> str:
    """Return a number of a card scheme."""
    start, length = source.choice(
        (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16))
    )
    number = _completed(start + digits(source, length - 1 - len(start)), 1, luhn_holds)
    return grouped(source, number, (4, 4, 4) if length == 16 else (4, 6))


def iban(source: Random) -> str:
    """Return an account number with right check digits."""
    country = source.choice(sorted(_IBANS))
    body = digits(source, _IBANS[country] - 4)
    if country in ("GB", "MT"):
        body = "".join(source.choices(_UPPER, k=4)) + body[4:]
    turned = "".join(str(int(sign, 36)) for sign in f"{body}{country}00")
    account = f"{country}{98 - int(turned) % 97:02d}{body}"
    return grouped(source, account, (4,) * 7, " ")


def us_ssn(source: Random) -> str:
    """Return a number within the ranges of the US."""
    number = _until(ids.us_ssn_holds, lambda: digits(source, 9))
    return grouped(source, number, (3, 2))


def uk_nhs(source: Random) -> str:
    """Return a number of the British health service."""
    number = _until(bool, lambda: _completed("4" + digits(source, 8), 1, ids.uk_nhs_holds))
    return grouped(source, number, (3, 3))


def de_tax_id(source: Random) -> str:
    """Return a German tax number: nine digits, one of them twice, and the check digit."""

    def make() -> str:
        first = source.sample(string.digits, 9)
        first.insert(source.randrange(10), source.choice(first))
        return _completed("".join(first), 1, ids.de_tax_id_holds)

    return grouped(source, _until(bool, make), (2, 3, 3), " ")


def fr_nir(source: Random) -> str:
    """Return a French number of social security with its key."""
    department = source.choice(("75", "69", "13", "2A", "2B", "33"))
    month = source.randint(1, 12)
    body = f"{source.choice('12')}{digits(source, 2)}{month:02d}{department}{digits(source, 6)}"
    return grouped(source, _completed(body, 2, ids.fr_nir_holds), (1, 2, 2, 2, 3, 3), " ")


def es_dni(source: Random) -> str:
    """Return a Spanish number with its letter."""
    body = source.choice((digits(source, 8), source.choice("XYZ") + digits(source, 7)))
    number = next(
        body + sign for sign in _UPPER if sign not in "IÑOU" if ids.es_dni_holds(body + sign)
    )
    return source.choice((number, number, f"{number[:8]}-{number[8]}", number.lower()))


def it_fiscal_code(source: Random) -> str:
    """Return an Italian fiscal code."""
    name = "".join(source.choices("BCDFGLMNPRSTV", k=6))
    day = source.randint(1, 28) + source.choice((0, 40))
    place = source.choice(_UPPER) + digits(source, 3)
    body = f"{name}{digits(source, 2)}{source.choice('ABCDEHLMPRST')}{day:02d}{place}"
    code = next(body + sign for sign in _UPPER if ids.it_fiscal_code_holds(body + sign))
    return source.choice((code, code, code.lower(), grouped(source, code, (3, 3, 5), " ")))


def nl_bsn(source: Random) -> str:
    """Return a Dutch number."""
    number = _until(ids.nl_bsn_holds, lambda: digits(source, 9))
    return grouped(source, number, (3, 3), " .")


def pl_pesel(source: Random) -> str:
    """Return a Polish number."""
    body = (
        f"{digits(source, 2)}{source.choice('02')}{source.randint(1, 9)}{source.randint(1, 28):02d}"
    )
    return _completed(body + digits(source, 4), 1, ids.pl_pesel_holds)


def se_personal_number(source: Random) -> str:
    """Return a Swedish number, with or without its century."""
    body = f"{digits(source, 2)}{source.randint(1, 12):02d}{source.randint(1, 28):02d}"
    number = _completed(body + digits(source, 3), 1, ids.se_personal_number_holds)
    forms = (number[:6] + "-" + number[6:], f"19{number}", number, f"19{number[:6]}-{number[6:]}")
    return source.choice(forms)


def fi_personal_code(source: Random) -> str:
    """Return a Finnish code."""
    day, month = source.randint(1, 28), source.randint(1, 12)
    start = f"{day:02d}{month:02d}{digits(source, 2)}{source.choice('-A')}{digits(source, 3)}"
    return next(
        start + sign for sign in _LETTERS.upper() if ids.fi_personal_code_holds(start + sign)
    )


def br_cpf(source: Random) -> str:
    """Return a Brazilian number."""
    number = _until(bool, lambda: _completed(digits(source, 9), 2, ids.br_cpf_holds))
    return source.choice((number, f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"))


def in_aadhaar(source: Random) -> str:
    """Return an Indian number."""
    number = _completed(source.choice("23456789") + digits(source, 10), 1, ids.in_aadhaar_holds)
    return grouped(source, number, (4, 4))


def ip(source: Random) -> str:
    """Return an address of either version."""
    if source.random() < 0.7:
        return ".".join(str(source.randint(1, 254)) for _ in range(4))
    groups = [f"{source.randrange(65536):x}" for _ in range(6)]
    full = ":".join(["2001", "db8", *groups])
    return source.choice((full, f"2001:db8::{groups[0]}:{groups[1]}", f"fe80::{groups[2]}"))


def url_credentials(source: Random) -> str:
    """Return an address with a user and a password."""
    scheme = source.choice(("https", "postgres", "redis", "mongodb+srv", "ftp"))
    user, password = source.choice(_FIRST[:8]), letters(source, source.randint(6, 16))
    return f"{scheme}://{user}:{password}@{source.choice(_DOMAINS[:4])}/{source.choice(_LAST[:5])}"


def api_key(source: Random) -> str:
    """Return a key of a known form."""
    forms = (
        lambda: "AKIA" + letters(source, 16, _UPPER + string.digits),
        lambda: "ghp_" + letters(source, 36),
        lambda: f"xoxb-{digits(source, 12)}-{digits(source, 12)}-{letters(source, 24)}",
        lambda: "sk_live_" + letters(source, 24),
        lambda: "AIza" + letters(source, 35),
        lambda: f"eyJ{letters(source, 30)}.eyJ{letters(source, 60)}.{letters(source, 43)}",
    )
    return source.choice(forms)()


def secret(source: Random) -> str:
    """Return a random password or key."""
    return letters(source, source.choice((12, 16, 24, 32, 40)))


def birth_date(source: Random) -> str:
    """Return a date of the last century."""
    day, month, year = source.randint(1, 28), source.randint(1, 12), source.randint(1930, 2009)
    name = source.choice(_MONTHS)
    forms: tuple[str, ...] = (
        f"{year}-{month:02d}-{day:02d}",
        f"{day:02d}/{month:02d}/{year}",
        f"{day}.{month}.{year}",
    )
    forms += (
        f"{day} {name} {year}",
        f"{name} {day}, {year}",
        f"{day:02d}.{month:02d}.{year % 100:02d}",
    )
    return source.choice(forms)


MAKERS: dict[str, Make] = {
    make.__name__: make
    for make in (
        email, phone, card, iban, us_ssn, uk_nhs, de_tax_id, fr_nir, es_dni, it_fiscal_code, nl_bsn,
        pl_pesel, se_personal_number, fi_personal_code, br_cpf, in_aadhaar, ip, url_credentials,
        api_key, secret, birth_date,
    )
}  # fmt: skip
STRUCTURED = tuple(kind for kind in MAKERS if kind != "birth_date")
"""The kinds that have a form of their own, so that hardly one should be missed."""
