"""Fair turns among processes that append to one log, without a leader or a message.

Every process sees who wrote each entry. One that has just written lets each process that it
lately saw writing go first, which soon becomes a round: exactly one is due, so hardly anybody
loses a race. One that is not due goes anyway when the log falls quiet.
"""

from random import Random

_FRESH = 0.25
_FIRST_TRIP = 0.001
_LONGEST_WAIT = 0.05


class Turns:
    """Decides how long ``me`` should hold its next append back; times are seconds."""

    def __init__(self, me: str, random: Random) -> None:
        self._me = me
        self._random = random
        self._others: dict[str, float] = {}
        self._trip = _FIRST_TRIP
        self._since_mine = 0
        self._last = 0.0
        self._won_at = 0.0
        self._spread = self._random.uniform(0.8, 1.4)
        self._resume = 0.0

    def saw(self, writer: str, now: float) -> None:
        """An entry of ``writer`` was applied; an empty name is somebody else, unknown."""
        self._last = now
        if writer == self._me:
            self._since_mine = 0
            self._won_at = now
            self._resume = 0.0
            self._spread = self._random.uniform(0.8, 1.4)
        else:
            self._since_mine += 1
            if writer:
                self._others[writer] = now

    def lost(self, now: float) -> None:
        """A race was lost; whoever else lost it as well should not come back at once with us."""
        self._resume = now + self._random.uniform(0.0, self._trip)

    def took(self, seconds: float) -> None:
        """A transaction took this long."""
        self._trip += 0.1 * (min(seconds, _LONGEST_WAIT) - self._trip)

    def delay(self, now: float) -> float:
        """How long to hold back from now; an entry applied meanwhile changes it."""
        ahead = len(self._active(now)) - self._since_mine
        if ahead <= 0:
            return self._resume - now
        wait = min(self._trip * (1 + ahead) * self._spread, _LONGEST_WAIT)
        return self._last + wait - now

    def go(self, now: float) -> None:
        """We go; those we waited for in vain are not waited for again until they write."""
        if self._others and len(self._active(now)) > self._since_mine:
            self._others = {w: at for w, at in self._others.items() if at > self._won_at}

    def _active(self, now: float) -> dict[str, float]:
        others = self._others
        if others and any(now - at > _FRESH for at in others.values()):
            self._others = others = {w: at for w, at in others.items() if now - at <= _FRESH}
        return others
