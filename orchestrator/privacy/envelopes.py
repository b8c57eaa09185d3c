"""Pseudonyms in values of any shape: labelled text lowered for the cloud, and answers raised."""

from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from orchestrator.core.errors import PrivacyRefused
from orchestrator.core.labels import ENVELOPES, Internal, Labelled, raised_to, sealed_value
from orchestrator.privacy.pseudonyms import PseudonymSession
from policies.facts import Label

Each = Callable[[Any], Any]
"""Makes a new value of one without parts."""


def lowered(name: str, value: Any, session: PseudonymSession) -> Any:
    """Return an argument in which all labelled text is pseudonymised and internal.

    What stands outside of envelopes stays as it is.

    Args:
        name: The parameter, for the error.
        value: The argument.
        session: The session of pseudonyms.

    Raises:
        PrivacyRefused: Something labelled is no text; a number has no pseudonym.
    """

    def inside(part: Any) -> Any:
        if isinstance(part, Labelled):
            return Internal(_mapped(sealed_value(part), inside))
        if part is None:
            return None
        if isinstance(part, str) and not isinstance(part, Enum):
            return session.pseudonymise(str(part))
        raise PrivacyRefused(
            f"{name!r} holds labelled data of type {type(part).__name__}, and only text can be "
            "pseudonymised: let the call stay at the edge, or declassify that part",
            shareable=True,
        )

    return _mapped(value, lambda part: inside(part) if isinstance(part, Labelled) else part)


class Answers:
    """Restores the answers to a call that was pseudonymised, and raises them to its label.

    Only what comes in an envelope is restored: nothing else has a label to be raised.

    Args:
        session: The session of pseudonyms.
        label: The label of the call before it was lowered.
    """

    def __init__(self, session: PseudonymSession, label: Label) -> None:
        self._session = session
        self._label = label
        self._pieces = session.restorer()
        self._held: deque[Labelled[str]] = deque()
        self.unresolved = 0
        self.invented = 0

    def value(self, answer: Any) -> Any:
        """Return an answer as it came over a channel, restored and raised."""

        def inside(part: Any) -> Any:
            if isinstance(part, Labelled):
                return _sealed_like(part, _mapped(sealed_value(part), inside))
            if not isinstance(part, str):
                return part
            restored = self._session.restore(part)
            self.unresolved += len(restored.unresolved)
            self.invented += len(restored.invented)
            return restored.text

        opened = _mapped(answer, lambda part: inside(part) if isinstance(part, Labelled) else part)
        return raised_to(opened, self._label)

    def feed(self, chunk: Any) -> list[Any]:
        """Take a chunk of a stream, and return those that are ready, in their order.

        Chunks of text are the pieces of one text, as a model writes it; others stand alone.
        """
        if isinstance(chunk, Labelled) and isinstance(text := sealed_value(chunk), str):
            self._held.append(chunk)
            return self._released(self._pieces.feed(text))
        return [*self.rest(), self.value(chunk)]

    def rest(self) -> list[Any]:
        """Return the chunks that were held back, for what follows is no part of their text."""
        released = self._released(self._pieces.finish())
        self.unresolved += len(self._pieces.unresolved)
        self.invented += len(self._pieces.invented)
        self._pieces = self._session.restorer()
        return released

    def _released(self, pieces: list[str]) -> list[Any]:
        return [
            raised_to(_sealed_like(self._held.popleft(), piece), self._label) for piece in pieces
        ]


def _sealed_like(envelope: Labelled[Any], value: Any) -> Labelled[Any]:
    return ENVELOPES[envelope.level](value, *envelope.categories)


def _mapped(value: Any, each: Each) -> Any:
    """Return a value whose innermost parts, envelopes among them, were replaced."""
    if isinstance(value, Mapping):
        return {_mapped(key, each): _mapped(part, each) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(_mapped(part, each) for part in value)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_mapped(part, each) for part in value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _mapped(part, each) for name, part in value})
    if is_dataclass(value) and not isinstance(value, type):
        # A copy: its constructor may refuse what is no address any more, and say so.
        replaced = copy(value)
        for field in fields(value):
            if field.init:
                part = _mapped(getattr(value, field.name), each)
                object.__setattr__(replaced, field.name, part)
        return replaced
    return each(value)
