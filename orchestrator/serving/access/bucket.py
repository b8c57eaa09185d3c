"""The token bucket: so many calls a second, and so many at once after a pause."""

from orchestrator.core.deadline import Clock


class TokenBucket:
    """Lets a call through for each token; tokens come in at a steady rate, up to a number.

    The algorithm is the generic cell rate algorithm's other face (Turner, 1986).

    Args:
        rate: Tokens that come in a second.
        burst: The most tokens there can be, which it starts with.
        clock: A clock that never goes back, in seconds.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._counted = clock()

    def take(self) -> float:
        """Take a token and return 0; or the seconds until there is one, and take none."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._rate)
        self._counted = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
