"""The retry budget: retries may be a share of the calls, so that they never become a storm."""

import time

from orchestrator.core.deadline import Clock


class RetryBudget:
    """A bucket of tokens: every call puts a part of one in, every retry takes one out.

    The idea is Finagle's retry budget (2016): a fixed share of all calls, and a floor so that
    rare calls may be retried, too.

    Args:
        share: Retries per call, in the long run.
        floor: Retries a second that are always allowed.
        most: The most tokens that can be saved up, and those at the start: enough for all calls
            that one node holds when it is lost.
        clock: Tells how much of the floor has come in.
    """

    def __init__(
        self,
        share: float = 0.2,
        floor: float = 10.0,
        most: float = 256.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._share = share
        self._floor = floor
        self._most = most
        self._clock = clock
        self._tokens = most
        self._calls = 0
        self._seen = clock()

    def deposit(self) -> None:
        """Count a call."""
        self._calls += 1

    def withdraw(self) -> bool:
        """Take the token of one retry; say whether there was one."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        more = self._calls * self._share + (now - self._seen) * self._floor
        self._seen, self._calls = now, 0
        self._tokens = min(self._tokens + more, self._most)


def backoff(rounds: int, chance: float, base: float = 0.05, most: float = 1.0) -> float:
    """Return how many seconds to wait before the candidates are asked for again.

    Args:
        rounds: How many rounds have failed.
        chance: A random number from 0 to 1; full jitter keeps callers from marching in step.
        base: The longest wait after the first round.
        most: The longest wait of all.
    """
    return float(min(base * 2 ** min(rounds - 1, 16), most) * chance)
