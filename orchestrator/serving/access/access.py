"""Who comes to a node: the guest that a certificate or a token stands for."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.deadline import Clock
from orchestrator.core.errors import AccessDenied
from orchestrator.serving.access.guest import Guest
from orchestrator.serving.access.settings import AccessSettings
from orchestrator.serving.access.tokens import BadToken, TokenReader

_log = logging.getLogger("isthmus.node")

_QUIET_SECONDS = 1.0
"""Between two lines of the log about refusals: strangers cannot fill it."""

_MOST_LETTERS = 100


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a peer has shown.

    Attributes:
        identities: The names in its verified certificate.
        certificate: That certificate, PEM; empty if there was none.
        authorization: What it says in `authorization`; empty if nothing.
    """

    identities: Sequence[str] = ()
    certificate: bytes = b""
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """A guest, for as long as it has shown that it is one.

    Attributes:
        guest: Who it is.
        expires: When its token does, in seconds since 1970; None if it came without one.
    """

    guest: Guest
    expires: float | None = None


class Access:
    """Knows the guests of a node.

    Args:
        settings: What its access file says.
        clock: A clock that never goes back, in seconds.

    Raises:
        SettingsError: The keys of tokens cannot be read.
    """

    def __init__(self, settings: AccessSettings, clock: Clock = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._quiet_until = clock()
        self._tokens = TokenReader(settings.tokens) if settings.tokens else None
        self._guests = {
            name: Guest(name, [settings.roles[role] for role in roles], clock)
            for name, roles in settings.identities.items()
            if roles
        }

    def visit(self, shown: Credentials) -> Visit:
        """Return whose visit it is.

        A token that is shown counts, and the names of the certificate only bind it.

        Raises:
            AccessDenied: Nobody in the access file, or more than one, has shown this.
        """
        if shown.authorization:
            return self._by_token(shown)
        return Visit(self._known(shown.identities))

    def reads_metrics(self, authorization: str) -> bool:
        """Say whether somebody who has shown only this may read the metrics."""
        if not self.settings.metrics_need_token:
            return True
        try:
            visit = self._by_token(Credentials(authorization=authorization), alone=True)
        except AccessDenied:
            return False
        return visit.guest.may_read_metrics

    def _by_token(self, shown: Credentials, *, alone: bool = False) -> Visit:
        scheme, _, token = shown.authorization.partition(" ")
        if self._tokens is None or scheme.lower() != "bearer":
            raise self._refusal("no token that the node takes")
        try:
            bearer = self._tokens.read(
                token.strip(), shown.identities, shown.certificate, alone=alone
            )
        except BadToken as error:
            raise self._refusal(f"a token is not valid here: {error}") from None
        return Visit(self._known([bearer.name]), bearer.expires)

    def _known(self, names: Sequence[str]) -> Guest:
        found = [self._guests[name] for name in names if name in self._guests]
        if len(found) != 1:
            # Names that an authority or an issuer has signed, short and on one line.
            who = repr(", ".join(names)[:_MOST_LETTERS]) if names else "nobody known"
            raise self._refusal(f"{who} is {len(found) or 'not one'} of the identities")
        return found[0]

    def _refusal(self, reason: str) -> AccessDenied:
        """Return the same refusal for every reason; the log tells which, once a second at most."""
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.warning("access was refused: %s", reason)
        return AccessDenied("the caller has no role at this node", shareable=True)
