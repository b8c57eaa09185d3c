"""Presidio's analyser as one more recogniser; needs the extra `pii`."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from orchestrator.privacy.recognisers.base import Span

_KINDS = {
    "CREDIT_CARD": "card",
    "EMAIL_ADDRESS": "email",
    "ES_NIE": "es_dni",
    "ES_NIF": "es_dni",
    "FI_PERSONAL_IDENTITY_CODE": "fi_personal_code",
    "IBAN_CODE": "iban",
    "IN_AADHAAR": "in_aadhaar",
    "IP_ADDRESS": "ip",
    "IT_FISCAL_CODE": "it_fiscal_code",
    "PHONE_NUMBER": "phone",
    "PL_PESEL": "pl_pesel",
    "UK_NHS": "uk_nhs",
    "US_SSN": "us_ssn",
}
_LEAST_SCORE = 0.4


class Result(Protocol):
    """What Presidio says of one find."""

    entity_type: str
    start: int
    end: int
    score: float


class Analyser(Protocol):
    """What is used of Presidio's AnalyzerEngine."""

    def analyze(self, text: str, language: str) -> Sequence[Result]:
        """Return what is found in a text."""


class PresidioRecogniser:
    """Finds what Presidio finds.

    Without an analyser of your own it knows patterns and check digits only: the language models
    that find names are not on the package index, and nothing is fetched here.

    Args:
        analyser: A configured AnalyzerEngine, say one with a language model; else a plain one.
        language: The language of the texts.
        least_score: How sure Presidio must be, from 0 to 1.

    Raises:
        ImportError: Presidio is not installed.
    """

    def __init__(
        self,
        analyser: Analyser | None = None,
        language: str = "en",
        least_score: float = _LEAST_SCORE,
    ) -> None:
        self._analyser = _plain_analyser(language) if analyser is None else analyser
        self._language = language
        self._least = least_score

    def find(self, text: str) -> Iterator[Span]:
        """Yield where private values stand in a text, under our names where we have one."""
        for result in self._analyser.analyze(text=text, language=self._language):
            if result.score >= self._least:
                kind = _KINDS.get(result.entity_type, result.entity_type.lower())
                yield Span(kind, result.start, result.end)


def _plain_analyser(language: str) -> Analyser:
    """Return an analyser that loads no model and opens no connection."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
    except ImportError as error:
        raise ImportError("Presidio is not installed: pip install 'isthmus[pii]'") from error
    engine: Any = SpacyNlpEngine(models=[{"lang_code": language, "model_name": "blank"}])
    engine.nlp = {language: spacy.blank(language)}
    analyser: Any = AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
    analyser.registry.remove_recognizer("EmailRecognizer")
    analyser.registry.add_recognizer(_offline_mail_recogniser(language))
    checked: Analyser = analyser
    return checked


def _offline_mail_recogniser(language: str) -> Any:
    """Return Presidio's recogniser of e-mail, which would fetch the list of public suffixes."""
    from presidio_analyzer.predefined_recognizers import EmailRecognizer
    from tldextract import TLDExtract

    domains = TLDExtract(suffix_list_urls=(), cache_dir=None)  # only the list that came with it
    recogniser: Any = EmailRecognizer(supported_language=language)
    recogniser.validate_result = lambda address: bool(domains(address).fqdn)
    return recogniser
