"""Secrets that only the name before them gives away, such as "api_key = ..."."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from orchestrator.privacy.recognisers.base import Span

_NAMES = r"keys?|tokens?|secrets?|credentials?"
_PASSWORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|passwort|kennwort|contraseña|clave|senha|parola|hasło"
    r"|mot de passe|mdp|wachtwoord|lösenord|salasana"
)
_ASSIGNED = re.compile(
    rf"(?P<name>{_NAMES}|(?P<password>{_PASSWORDS}))(?![A-Za-z])[\w.-]{{0,20}}[\"'\])]{{0,2}}"
    r"\s{0,3}(?P<sign>:=|=>|=|:|\bis\b:?|\blautet\b:?|\best\b\s?:?|\bes\b:?)\s{0,3}"
    r"(?P<quote>[\"'`]?)(?P<value>[^\s\"'`<>,;]{4,500})",
    re.IGNORECASE,
)
_STEMS: tuple[str, ...] = (
    "key", "token", "secret", "credential", "pass", "pwd", "kennwort", "contraseña", "clave",
    "senha", "parola", "hasło", "mdp", "mot de passe", "wachtwoord", "lösenord", "salasana",
)  # fmt: skip
_CALL = re.compile(r"[A-Za-z_][\w.]*\(")  # of a function, in a program
_CLASSES = tuple(re.compile(sign) for sign in ("[a-z]", "[A-Z]", "[0-9]", r"[^\w\s]|_"))
_LEAST_BITS = 3.0
"""Of a letter, by how often each occurs in the value (Shannon, 1948)."""
_LEAST_LENGTH = 12
_PASSWORD_LENGTH = 6


class AssignedSecretRecogniser:
    """Finds what is assigned to a password, or looks random after "key", "token", "secret"."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where such secrets stand in a text."""
        lower = text.lower()
        if not any(stem in lower for stem in _STEMS):
            return
        for match in _ASSIGNED.finditer(text):
            value = match["value"].rstrip(".!?)}]&")
            if _CALL.match(value):
                continue
            if (_is_password if match["password"] else _is_random)(value):
                start = match.start("value")
                yield Span("secret", start, start + len(value))


def _is_random(value: str) -> bool:
    counts = Counter(value).values()
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
    return len(value) >= _LEAST_LENGTH and bits >= _LEAST_BITS and _classes(value) >= 2


def _is_password(value: str) -> bool:
    # A word, with a capital or without, is more likely the next of the sentence.
    return len(value) >= _PASSWORD_LENGTH and _classes(value[1:]) >= 2


def _classes(value: str) -> int:
    return sum(bool(sign.search(value)) for sign in _CLASSES)
