"""The circuit breaker: an endpoint that keeps failing is left alone for a while."""

import time

from orchestrator.core.deadline import Clock


class Breaker:
    """Closed while calls succeed, open after failures in a row, then one trial at a time.

    Only what is the endpoint's fault counts: not reached, gone during a call. The state
    machine is Nygard's (Release It!, 2007); open times double up to a limit.

    Args:
        failures: Failures in a row that open it.
        open_seconds: How long it stays open the first time.
        most_seconds: The longest it stays open.
        clock: Tells when the time has come.
    """

    def __init__(
        self,
        failures: int = 3,
        open_seconds: float = 1.0,
        most_seconds: float = 30.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first = open_seconds
        self._most = most_seconds
        self._clock = clock
        self._in_row = 0
        self._opened = 0
        self._until = 0.0
        self._tickets = 0
        self._trial: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are refused now."""
        return self._is_tripped and (self._trial is not None or self._clock() < self._until)

    def enter(self) -> int | None:
        """Ask to send a call; return its ticket, or None if it may not go."""
        self._tickets += 1
        if self._in_row < self._limit:
            return self._tickets
        if self.is_open:
            return None
        self._trial = self._tickets
        return self._tickets

    def succeeded(self) -> None:
        """Note that the endpoint answered; any answer of its own will do."""
        if self._in_row:
            self._in_row = self._opened = 0
            self._trial = None

    def failed(self, ticket: int) -> None:
        """Note that the endpoint failed a call.

        Calls that were under way when the circuit opened tell nothing new.
        """
        if self._is_tripped and ticket != self._trial:
            return
        self._in_row += 1
        self._trial = None
        if self._is_tripped:
            longer = 2 ** min(self._opened, 16)
            self._until = self._clock() + min(self._first * longer, self._most)
            self._opened += 1

    def given_up(self, ticket: int) -> None:
        """Note that a call ended without showing how the endpoint is."""
        if ticket == self._trial:
            self._trial = None

    def reached(self) -> None:
        """Note that the endpoint came back by another sign: a trial may go at once."""
        self._until = self._clock()

    @property
    def _is_tripped(self) -> bool:
        return self._in_row >= self._limit
