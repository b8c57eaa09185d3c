"""The vault: which token stands for which value. It stays on the edge, in memory."""

import hmac
import re
import secrets
import threading
import unicodedata
from dataclasses import dataclass, field
from typing import NoReturn

from orchestrator.core.errors import InvalidInput, UsageError
from orchestrator.privacy.tokens import ALPHABET, CODE_LENGTH, Found, is_code, written

CAPACITY = 100_000
"""How many values a vault keeps, by default."""

_SPACES = re.compile(r"[\s\u00ad\u200b-\u200d\u2060\ufeff]+")


@dataclass(slots=True)
class _Entry:
    """What one code stands for.

    Attributes:
        kind: The kind of its token.
        values: One value in its spellings; the number behind the code says which. Empty once
            they were forgotten: the code itself is never used again.
        numbers: Each spelling's number.
        subjects: Whose value it is; None stands for nobody in particular.
    """

    kind: str
    values: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    subjects: set[str | None] = field(default_factory=set)


class Vault:
    """Keeps values and the tokens that stand for them; safe in threads and tasks.

    A code is a keyed digest (HMAC-SHA256, RFC 2104) of kind and value, so that the same value
    has the same code under one key, and codes under two keys have nothing to do with each other.
    If two values should have one code, the second gets another.

    Args:
        key: The session's key, of 32 bytes.
        capacity: The most values it keeps, each spelling counted.

    Raises:
        UsageError: The key is too short to keep codes from being guessed.
    """

    def __init__(self, key: bytes | None = None, capacity: int = CAPACITY) -> None:
        self._key = secrets.token_bytes(32) if key is None else key
        if len(self._key) < 16:
            raise UsageError("the key of a vault has 32 random bytes: secrets.token_bytes(32)")
        self._capacity = capacity
        self._codes: dict[str, _Entry] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._kinds: frozenset[str] = frozenset()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of all tokens that were handed out."""
        return self._kinds

    def __len__(self) -> int:
        return self._size

    def token(self, kind: str, value: str, subject: str | None = None) -> str:
        """Return the token of a value, a new one if it has none yet.

        Args:
            kind: Its kind, as tokens bear it.
            value: The value; two spellings of one value get one code and different numbers.
            subject: Whose value it is, so that `forget` can find it.

        Raises:
            InvalidInput: The vault is full.
        """
        with self._lock:
            code = self._code(kind, canonical(value))
            entry = self._codes[code]
            number = entry.numbers.get(value)
            if number is None:
                self._make_room()
                entry.values.append(value)
                number = entry.numbers[value] = len(entry.values)
                self._size += 1
            entry.subjects.add(subject)
            return written(kind, code, number)

    def value(self, found: Found) -> str | None:
        """Return what a token stands for; None if it was never handed out, or is forgotten."""
        with self._lock:
            entry = self._codes.get(found.code)
            if entry is None or entry.kind != found.kind or found.spelling > len(entry.values):
                return None
            return entry.values[found.spelling - 1]

    def knows(self, code: str) -> bool:
        """Say whether a code was ever handed out, whatever stands for it now."""
        return code in self._codes

    def forget(self, subject: str) -> int:
        """Forget the values of a subject that are nobody else's; return how many these were."""
        with self._lock:
            for entry in self._codes.values():
                entry.subjects.discard(subject)
            return self._drop_what_is_nobodys()

    def clear(self) -> int:
        """Forget all values; return how many these were."""
        with self._lock:
            for entry in self._codes.values():
                entry.subjects.clear()
            return self._drop_what_is_nobodys()

    def _drop_what_is_nobodys(self) -> int:
        """Drop the values without subjects; their codes stay, so that their tokens are known."""
        before, codes = self._size, self._codes
        for entry in codes.values():
            if not entry.subjects:
                self._size -= len(entry.values)
                entry.values, entry.numbers = [], {}
        self._known = {name: code for name, code in self._known.items() if codes[code].values}
        return before - self._size

    def _code(self, kind: str, value: str) -> str:
        """Return the code of a value in canonical form, a new one if it has none."""
        code = self._known.get((kind, value))
        attempt = 0
        while code is None:
            drawn = _digest(self._key, f"{kind}\0{value}\0{attempt}")
            attempt += 1
            if is_code(drawn) and drawn not in self._codes:
                self._make_room()
                self._codes[drawn] = _Entry(kind)
                self._kinds |= {kind}
                code = self._known[kind, value] = drawn
        return code

    def _make_room(self) -> None:
        if max(self._size, len(self._codes) - 1) >= self._capacity:
            raise InvalidInput(
                f"the vault holds the {self._capacity:,} values it may: begin another session, or "
                "clear this one",
                shareable=True,
            )

    def __repr__(self) -> str:
        return f"Vault({self._size} values, ****)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a vault cannot be pickled or copied: it stays where it is")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a vault cannot be pickled or copied: it stays where it is")


def canonical(value: str) -> str:
    """Return what all spellings of a value have in common: case, spaces and Unicode form apart."""
    return _SPACES.sub("", unicodedata.normalize("NFKC", value)).casefold()


def _digest(key: bytes, text: str) -> str:
    number = int.from_bytes(hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256"))
    letters = []
    for _ in range(CODE_LENGTH):
        number, letter = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return "".join(letters)
