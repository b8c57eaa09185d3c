"""Which share of the calls under way goes in one message: all, a half or a quarter of them.

Were it always all, caller and node would work in turns, and of two free cores one would always
wait. Were it always few, a machine with one core to spare would pay for more messages.
"""

from orchestrator.core.means import DecayingMean

_PARTS = (2, 1, 4)
"""Into how many messages the calls under way may go; the first is the one to begin with."""

_MESSAGES = 32
"""How many messages are tried before a pace is known."""

_EVERY = 8
"""Of so many trials one is of another share, since the machine may have changed."""

_GAIN = 1.05
"""How much faster another share must have been to be taken."""

_PAUSE_SECONDS = 0.1
"""Messages further apart than this are no busy moment, and tell nothing."""


class Share:
    """Learns from the pace of frames in busy moments.

    The choice is that of an epsilon-greedy bandit (Sutton and Barto, 1998) whose turns are fixed
    instead of drawn.
    """

    def __init__(self) -> None:
        self._paces = tuple(DecayingMean(0.3) for _ in _PARTS)
        self._best = self._tried = 0
        self._trials = 0
        self._messages = 0
        self._frames = 0
        self._began = self._last = 0.0

    @property
    def parts(self) -> int:
        """Into how many messages the calls under way go now."""
        return _PARTS[self._tried]

    def most(self, outstanding: int) -> int:
        """Return the most calls that a message may carry, of so many under way."""
        return max(1, -(-outstanding // self.parts))

    def sent(self, frames: int, now: float) -> None:
        """Take note of a message.

        Args:
            frames: How many frames it carried.
            now: When it was sent, in seconds.
        """
        if now - self._last > _PAUSE_SECONDS:
            self._begin(now)
        self._last = now
        self._messages += 1
        self._frames += frames
        if self._messages > _MESSAGES and now > self._began:
            self._paces[self._tried].add(self._frames / (now - self._began))
            self._choose()
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._messages = self._frames = 0
        self._began = now

    def _choose(self) -> None:
        if self._paces[self._tried].value > _GAIN * self._paces[self._best].value:
            self._best = self._tried
        self._trials += 1
        turn, rest = divmod(self._trials, _EVERY)
        others = [part for part in range(len(_PARTS)) if part != self._best]
        self._tried = self._best if rest else others[turn % len(others)]
