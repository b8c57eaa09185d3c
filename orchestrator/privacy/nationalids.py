"""Check digits of national identity numbers; each takes digits and capitals without separators."""

from datetime import date

from orchestrator.privacy.checksums import luhn_holds

_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_HETU_CENTURIES = {"+": 1800} | dict.fromkeys("-YXWVU", 1900) | dict.fromkeys("ABCDEF", 2000)
_ODD_VALUES: tuple[int, ...] = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
)
_ODD_VALUES += (22, 25, 24, 23)  # of the letters A to Z; the digits 0 to 9 count as A to J
_MONTHS = "ABCDEHLMPRST"
_CLASH = str.maketrans("LMNPQRSTUV", "0123456789")
_CLASH_PLACES = (6, 7, 9, 10, 12, 13, 14)
_PESEL_CENTURIES = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}


def us_ssn_holds(number: str) -> bool:
    """Say whether a number may be a social security number (US SSA, ranges since 2011)."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def uk_nhs_holds(number: str) -> bool:
    """Check a number of the UK's National Health Service (NHS Data Dictionary, modulus 11)."""
    check = -_weighed(number[:9], range(10, 1, -1)) % 11
    return check < 10 and check == int(number[9]) and len(set(number)) > 1


def de_tax_id_holds(number: str) -> bool:
    """Check a German tax identification number (BZSt; ISO/IEC 7064, MOD 11,10)."""
    counts = sorted(number[:10].count(digit) for digit in set(number[:10]))
    if number[0] == "0" or counts[-1] not in (2, 3) or sum(count > 1 for count in counts) > 1:
        return False
    product = 10
    for digit in number[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(number[10])


def fr_nir_holds(number: str) -> bool:
    """Check a French NIR with its key (INSEE, 97 minus the number modulo 97)."""
    month = number[3:5]
    if number[0] not in "123478" or not ("01" <= month <= "12" or "20" <= month <= "42"):
        return False
    # Corsica's departments count as numbers.
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(number[13:])


def es_dni_holds(number: str) -> bool:
    """Check a Spanish DNI or NIE by its letter (Ministerio del Interior, modulo 23)."""
    body = number[0].translate(str.maketrans("XYZ", "012")) + number[1:8]
    return _DNI[int(body) % 23] == number[8]


def it_fiscal_code_holds(code: str) -> bool:
    """Check an Italian codice fiscale (DM 23/12/1976), also one changed to avoid a clash."""
    total = sum(
        _ODD_VALUES[value] if place % 2 == 0 else value
        for place, value in enumerate(map(_as_letter, code[:15]))
    )
    digits = "".join(code[place] for place in _CLASH_PLACES).translate(_CLASH)
    day = int(digits[2:4]) if digits.isdigit() else 0
    dated = code[8] in _MONTHS and day % 40 in range(1, 32) and day < 72
    written = any(letter.isdigit() for letter in code)  # else it may be words
    return dated and written and ord(code[15]) - ord("A") == total % 26


def nl_bsn_holds(number: str) -> bool:
    """Check a Dutch burgerservicenummer (RvIG, the "elfproef" with a last weight of -1)."""
    return int(number) > 0 and _weighed(number, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def pl_pesel_holds(number: str) -> bool:
    """Check a Polish PESEL: weights 1, 3, 7, 9, and the date of birth within."""
    year, month, day = _pairs(number)
    century = _PESEL_CENTURIES.get(month // 20, 0)
    dated = century > 0 and _is_date(century + year, month % 20, day)
    return dated and _weighed(number, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def se_personal_number_holds(number: str) -> bool:
    """Check a Swedish personnummer or samordningsnummer (Skatteverket, Luhn) of 10 or 12 digits."""
    year, month, day = _pairs(number[-10:])
    century = int(number[:2]) * 100 if len(number) == 12 else 2000
    right = century in (1800, 1900, 2000) and _is_date(century + year, month, day % 60)
    return right and luhn_holds(number[-10:])


def fi_personal_code_holds(code: str) -> bool:
    """Check a Finnish henkilötunnus (DVV, modulo 31), with or without the century's sign."""
    day, month, year = _pairs(code)
    # A hyphen or plus is the century's sign, and a separator that may have been taken out.
    century = 1900 if len(code) == 10 else _HETU_CENTURIES.get(code[6], 0)
    dated = century > 0 and _is_date(century + year, month, day)
    return dated and _HETU[int(code[:6] + code[-4:-1]) % 31] == code[-1]


def br_cpf_holds(number: str) -> bool:
    """Check a Brazilian CPF (Receita Federal, two digits modulo 11)."""
    checks = (
        _weighed(number[:length], range(length + 1, 1, -1)) * 10 % 11 % 10 for length in (9, 10)
    )
    return len(set(number)) > 1 and number[9:] == "".join(map(str, checks))


def in_aadhaar_holds(number: str) -> bool:
    """Check an Indian Aadhaar number (UIDAI; Verhoeff, 1969)."""
    return number[0] in "23456789" and verhoeff_holds(number)


def verhoeff_holds(digits: str) -> bool:
    """Say whether the last digit fits the others (Verhoeff 1969, the dihedral group D5)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _times(check, _permuted(int(digit), place % 8))
    return check == 0


def _times(one: int, other: int) -> int:
    """Return the product of two elements of D5: 0 to 4 turn, 5 to 9 also mirror."""
    turned = (one + other) % 5 if one < 5 else (one - other) % 5
    return turned if (one < 5) == (other < 5) else turned + 5


def _permuted(digit: int, times: int) -> int:
    for _ in range(times):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit


def _weighed(digits: str, weights: tuple[int, ...] | range) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _as_letter(letter: str) -> int:
    return int(letter) if letter.isdigit() else ord(letter) - ord("A")


def _pairs(number: str) -> tuple[int, int, int]:
    return int(number[:2]), int(number[2:4]), int(number[4:6])


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
