"""Which share of the calls under way goes in one message: half of them or all, whichever is faster.

Were it always all, caller and node would work in turns, and of two free cores one would always
wait. Were it always half, a machine with one core to spare would pay for twice the messages.
"""

from orchestrator.core.means import DecayingMean

_MESSAGES = 32
"""How many messages are tried before a pace is known."""

_EVERY = 16
"""Of so many trials one is of the share that was slower, since the machine may have changed."""

_GAIN = 1.05
"""How much faster the other share must have been to be taken."""

_PAUSE_SECONDS = 0.005
"""Messages further apart than this are no busy moment, and tell nothing."""


class Share:
    """Learns from the pace of frames in busy moments.

    The choice is that of an epsilon-greedy bandit with two arms (Sutton and Barto, 1998) whose
    turns are fixed instead of drawn.
    """

    def __init__(self) -> None:
        self._paces = (DecayingMean(0.3), DecayingMean(0.3))  # of all, of halves
        self._best = 2
        self._tried = 2
        self._trials = 0
        self._messages = 0
        self._frames = 0
        self._began = self._last = 0.0

    @property
    def halves(self) -> bool:
        """Whether a message carries half of the calls under way now."""
        return self._tried == 2

    def most(self, outstanding: int) -> int:
        """Return the most calls that a message may carry, of so many under way."""
        return max(1, -(-outstanding // self._tried))

    def sent(self, frames: int, now: float) -> None:
        """Take note of a message.

        Args:
            frames: How many frames it carried.
            now: When it was sent, in seconds.
        """
        if now - self._last > _PAUSE_SECONDS:
            self._messages = self._frames = 0
            self._began = now
        self._last = now
        self._messages += 1
        self._frames += frames
        if self._messages > _MESSAGES and now > self._began:
            self._paces[self._tried - 1].add(self._frames / (now - self._began))
            self._choose()
            self._messages = self._frames = 0
            self._began = now

    def _choose(self) -> None:
        other = 3 - self._best
        if self._paces[other - 1].value > _GAIN * self._paces[self._best - 1].value:
            self._best, other = other, self._best
        self._trials += 1
        self._tried = other if self._trials % _EVERY == 0 else self._best
