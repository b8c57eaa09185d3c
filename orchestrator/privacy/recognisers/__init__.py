"""Finding private values in text: each recogniser one kind, `find_all` all that they find."""

from orchestrator.privacy.recognisers.base import Recogniser, Span
from orchestrator.privacy.recognisers.finding import find_all

__all__ = ["Recogniser", "Span", "find_all"]
