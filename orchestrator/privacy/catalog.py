"""The recognisers by name, as settings and callers ask for them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from orchestrator.privacy.recognisers.assigned import AssignedSecretRecogniser
from orchestrator.privacy.recognisers.base import Recogniser
from orchestrator.privacy.recognisers.birth import BirthDateRecogniser
from orchestrator.privacy.recognisers.card import CardRecogniser
from orchestrator.privacy.recognisers.custom import PatternRecogniser, WordRecogniser
from orchestrator.privacy.recognisers.iban import IbanRecogniser
from orchestrator.privacy.recognisers.keys import ApiKeyRecogniser
from orchestrator.privacy.recognisers.mail import EmailRecogniser
from orchestrator.privacy.recognisers.national import NATIONAL_IDS, NationalIdRecogniser
from orchestrator.privacy.recognisers.network import IpRecogniser
from orchestrator.privacy.recognisers.phone import PhoneRecogniser
from orchestrator.privacy.recognisers.urls import UrlCredentialsRecogniser

NATIONAL = "national_id"
"""Stands for the identity numbers of all countries; each also has a name of its own."""


def _presidio() -> Recogniser:
    from orchestrator.privacy.presidio import PresidioRecogniser

    return PresidioRecogniser()


def _country(kind: str) -> Recogniser:
    return NationalIdRecogniser([number for number in NATIONAL_IDS if number.kind == kind])


# Those with check digits or a form of their own stand first: they are surest of what they found.
_DEFAULT: dict[str, Callable[[], Recogniser]] = {
    "url_credentials": UrlCredentialsRecogniser,
    "api_key": ApiKeyRecogniser,
    "iban": IbanRecogniser,
    "card": CardRecogniser,
    "email": EmailRecogniser,
    "ip": IpRecogniser,
    NATIONAL: NationalIdRecogniser,
    "phone": PhoneRecogniser,
    "secret": AssignedSecretRecogniser,
    "birth_date": BirthDateRecogniser,
}
_BY_NAME: dict[str, Callable[[], Recogniser]] = {
    **_DEFAULT,
    **{number.kind: partial(_country, number.kind) for number in NATIONAL_IDS},
    "presidio": _presidio,
}

NAMES = tuple(_BY_NAME)
"""All names that `recognisers_named` knows."""


def default_recognisers() -> Sequence[Recogniser]:
    """Return the recognisers that are used unless others are named, the surest first."""
    return tuple(make() for make in _DEFAULT.values())


def recognisers_named(
    names: Iterable[str] = tuple(_DEFAULT),
    patterns: Mapping[str, str] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Sequence[Recogniser]:
    """Return recognisers by name, and those of a user's own patterns and words.

    Args:
        names: Of those in `NAMES`; the order does not matter, the surest stand first.
        patterns: A regular expression for each kind of the user's own.
        words: A list of whole words or phrases, found in any case, for each kind.

    Returns:
        The user's own first, for he is surest of what he means.

    Raises:
        ValueError: A name is unknown, a pattern is bad or may take for ever, a list is empty.
    """
    asked = set(names)
    if unknown := sorted(asked - set(NAMES)):
        known = ", ".join(NAMES)
        raise ValueError(f"no recogniser is called {', '.join(unknown)}; there are {known}")
    return (
        *(PatternRecogniser(kind, pattern) for kind, pattern in (patterns or {}).items()),
        *(WordRecogniser(kind, entries) for kind, entries in (words or {}).items()),
        *(_BY_NAME[name]() for name in NAMES if name in asked),
    )
