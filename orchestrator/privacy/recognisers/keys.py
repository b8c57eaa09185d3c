"""API keys and tokens that their makers gave a form of their own."""

import re
from collections.abc import Iterator

from orchestrator.privacy.recognisers.base import Span

_FORMS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])",  # AWS access key
    r"gh[opsur]_[0-9A-Za-z]{36,255}",  # GitHub
    r"github_pat_\w{22,255}",
    r"glpat-[\w-]{20,100}",  # GitLab
    r"xox[a-z]-[0-9A-Za-z-]{10,250}",  # Slack
    r"xapp-[0-9A-Za-z-]{10,250}",
    r"https://hooks\.slack\.com/services/[\w/]{20,100}",
    r"[rs]k_(?:live|test)_[0-9A-Za-z]{10,250}",  # Stripe
    r"whsec_[0-9A-Za-z+/=]{20,100}",
    r"AIza[\w-]{35}",  # Google
    r"GOCSPX-[\w-]{20,40}",
    r"ya29\.[\w-]{20,1000}",
    r"sk-(?:proj-|ant-|svcacct-)?[\w-]{20,250}",  # OpenAI, Anthropic
    r"SG\.[\w-]{16,32}\.[\w-]{16,64}",  # SendGrid
    r"npm_[0-9A-Za-z]{36}",
    r"pypi-[\w-]{50,250}",
    r"hf_[0-9A-Za-z]{30,40}",  # Hugging Face
    r"dop_v1_[0-9a-f]{64}",  # DigitalOcean
    r"[0-9]{8,10}:AA[\w-]{33}",  # Telegram
    r"eyJ[\w-]{5,4000}\.eyJ[\w-]{2,8000}\.[\w-]{0,2000}",  # JSON Web Token (RFC 7519)
)
_KNOWN = re.compile(rf"(?<![0-9A-Za-z_-])(?:{'|'.join(_FORMS)})", re.IGNORECASE)
_BEARER = re.compile(
    r"(?<![0-9A-Za-z])(?:bearer|basic|authorization:\s?token)\s{1,3}([\w.~+/-]{12,4000}={0,2})",
    re.IGNORECASE,
)
# All up to its end, or to where anything else in dashes begins, or the text ends.
_PRIVATE = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----)[\s\S])*(?:-----END [A-Z0-9 ]{0,40}-----)?",
    re.IGNORECASE,
)
_DIGIT = re.compile("[0-9]")


class ApiKeyRecogniser:
    """Finds keys of known forms, tokens after "Bearer", and private keys in PEM."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield where keys and tokens stand in a text."""
        for match in _KNOWN.finditer(text):
            if _DIGIT.search(match[0]):
                yield Span("api_key", *match.span())
        for match in _BEARER.finditer(text):
            if _DIGIT.search(match[1]):
                yield Span("api_key", *match.span(1))
        for match in _PRIVATE.finditer(text):
            yield Span("api_key", *match.span())
